// Rotary embedding (Su et al., arXiv:2104.09864): angles, and turning queries and keys on their way to the cache.
#pragma once

namespace gristmill { namespace GM_LEVEL {

static void angles(const void* args, Scratch, int64_t first, int64_t last) {
    const AnglesArgs& a = *static_cast<const AnglesArgs*>(args);
    for (int64_t n = first; n < last; ++n)
        for (int i = 0; i < a.half; ++i) {      // in double: at position 100,000 a float angle is off by 0.004
            double angle = static_cast<double>(a.positions[n]) * a.inv_freq[i];
            a.cos[n * a.half + i] = static_cast<float>(__builtin_cos(angle) * a.magnitude);
            a.sin[n * a.half + i] = static_cast<float>(__builtin_sin(angle) * a.magnitude);
        }
}

// out = x turned by the angles of its token; elements from 2 * half on stay.
static inline void turn(const RopeStoreArgs& a, const float* cos, const float* sin, const float* x, float* out) {
    const int step = a.interleaved ? 2 : 1, apart = a.interleaved ? 1 : a.half;
    for (int i = 0; i < a.half; ++i) {
        float u = x[i * step], v = x[i * step + apart];
        out[i * step] = u * cos[i] - v * sin[i];
        out[i * step + apart] = u * sin[i] + v * cos[i];
    }
    for (int i = 2 * a.half; i < a.k_dim; ++i) out[i] = x[i];
}

static inline const float* normed(const float* x, const float* weight, int dim, float eps, float* room) {
    if (!weight) return x;
    RowReader row(x, weight, dim, eps);
    for (int i = 0; i < dim; i += 16) store_part(room + i, row(i), dim - i < 16 ? dim - i : 16);
    return room;
}

// out = x normalised, if there is a norm, and turned, or the other way round.
static inline void make_head(const RopeStoreArgs& a, int64_t n, const float* x, const float* norm, float* out) {
    float room[kMaxHeadDim];
    const float *cos = a.cos + n * a.half, *sin = a.sin + n * a.half;
    if (!a.norm_last) return turn(a, cos, sin, normed(x, norm, a.k_dim, a.eps, room), out);
    turn(a, cos, sin, x, room);
    normed(room, norm, a.k_dim, a.eps, out);
}

template <class Kv> static void rope_store_item(const RopeStoreArgs& a, int64_t n, int kv_head) {
    float turned[kMaxHeadDim];
    const int n_rep = a.n_heads / a.n_kv_heads;
    for (int head = kv_head * n_rep; head < (kv_head + 1) * n_rep; ++head)
        make_head(a, n, a.q + n * a.q_stride + head * a.k_dim, a.q_norm, a.q_out + (n * a.n_heads + head) * a.k_dim);
    make_head(a, n, a.k + n * a.k_stride + kv_head * a.k_dim, a.k_norm, turned);
    const int64_t page = a.slots[n] / 16;
    const int token = static_cast<int>(a.slots[n] % 16);
    uint8_t* k_head = a.k_cache + page * a.k_page + kv_head * Kv::head_bytes(a.k_dim);
    uint8_t* v_head = a.v_cache + page * a.v_page + kv_head * Kv::head_bytes(a.v_dim);
    Kv::store_k(k_head, token, turned, a.k_dim);
    Kv::store_v(v_head, token, a.v + n * a.v_stride + kv_head * a.v_head, a.v_dim);
}

// Items: tokens, by KV head.
static void rope_store(const void* args, Scratch, int64_t first, int64_t last) {
    const RopeStoreArgs& a = *static_cast<const RopeStoreArgs*>(args);
    for (int64_t i = first; i < last; ++i) {
        int64_t n = i / a.n_kv_heads;
        int head = static_cast<int>(i % a.n_kv_heads);
        switch (a.kv_type) {
            case kF32: rope_store_item<PlainKv<KvF32>>(a, n, head); break;
            case kF16: rope_store_item<PlainKv<KvF16>>(a, n, head); break;
            case kBf16: rope_store_item<PlainKv<KvBf16>>(a, n, head); break;
            case kQ8: rope_store_item<Q8Kv>(a, n, head); break;
            case kQ4: rope_store_item<Q4Kv>(a, n, head); break;
        }
    }
}

}}  // namespace gristmill::GM_LEVEL
