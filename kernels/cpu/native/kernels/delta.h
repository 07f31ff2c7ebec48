// Gated delta networks (Yang et al., arXiv:2412.06464), with one decay for a head or one for each element of its keys
// (Kimi Team, arXiv:2510.26692). A head's state S (k_dim, v_dim) forgets, then learns what it said wrongly:
//
//     S' = decay S,   S = S' + k beta (v - k S'),   out = q S
//
// First q, k, decay and beta of all tokens are made ready, then each item takes some columns of a head's state through
// the tokens of its sequence, one after the other: columns do not meet, and a chunk's end changes no sum.
#pragma once

namespace gristmill { namespace GM_LEVEL {

constexpr int kDeltaCols = 32, kDeltaSums = 4;      // columns of an item; sums of each, over every fourth key element

struct DeltaReady {                 // what is ready of one token, head after head: q, k, decay, beta
    float *q, *k, *decay, *beta;

    static size_t floats(const DeltaArgs& a) {
        return static_cast<size_t>(2) * a.n_k_heads * a.k_dim + static_cast<size_t>(a.n_v_heads) * (a.decay_dim + 1);
    }
    DeltaReady(const DeltaArgs& a, int64_t token)
        : q(a.ready + token * static_cast<int64_t>(floats(a))), k(q + a.n_k_heads * a.k_dim), decay(k + a.n_k_heads * a.k_dim),
          beta(decay + a.n_v_heads * a.decay_dim) {}
};

static size_t delta_floats(const DeltaArgs& a) { return DeltaReady::floats(a); }

static size_t delta_scratch(const DeltaArgs& a) { return static_cast<size_t>(a.k_dim) * kDeltaCols * 4; }

static inline void delta_unit(const float* x, int dim, float eps, float scale, float* out) {    // scale x / |x|
    F total = set_f(0.0f);
    for_row(dim, [&](int i, int count) {
        F v = load_part(x + i, count);
        total = fma(v, v, total);
    });
    const F factor = set_f(scale / __builtin_sqrtf(sum_f(total) + eps));
    for_row(dim, [&](int i, int count) { store_part(out + i, mul(load_part(x + i, count), factor), count); });
}

static inline F delta_decay(F x, F bias, F scale) { return exp_f(mul(scale, softplus(add(x, bias)))); }

// An item is a token's key head, and as many value heads as there are for each of these.
static void delta_prepare(const void* args, Scratch, int64_t first, int64_t last) {
    const DeltaArgs& a = *static_cast<const DeltaArgs*>(args);
    const int n_rep = a.n_v_heads / a.n_k_heads;
    const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(a.k_dim));
    for (int64_t item = first; item < last; ++item) {
        const int64_t token = item / a.n_k_heads;
        const int head = static_cast<int>(item % a.n_k_heads), v_head = head * n_rep, at = head * a.k_dim;
        const DeltaReady ready(a, token);
        delta_unit(a.q + token * a.q_stride + at, a.k_dim, a.eps, scale, ready.q + at);
        delta_unit(a.k + token * a.k_stride + at, a.k_dim, a.eps, 1.0f, ready.k + at);
        const float *beta = a.beta + token * a.beta_stride + v_head, *decay = a.decay + token * a.decay_stride;
        for_row(n_rep, [&](int i, int count) { store_part(ready.beta + v_head + i, sigmoid(load_part(beta + i, count)), count); });
        if (a.decay_dim == 1) {
            for_row(n_rep, [&](int i, int count) {
                F factor = load_part(a.decay_scale + v_head + i, count), bias = load_part(a.decay_bias + v_head + i, count);
                store_part(ready.decay + v_head + i, delta_decay(load_part(decay + v_head + i, count), bias, factor), count);
            });
            continue;
        }
        for (int h = v_head; h < v_head + n_rep; ++h)
            for_row(a.k_dim, [&](int i, int count) {
                const int64_t j = static_cast<int64_t>(h) * a.k_dim + i;
                F y = delta_decay(load_part(decay + j, count), load_part(a.decay_bias + j, count), set_f(a.decay_scale[h]));
                store_part(ready.decay + j, y, count);
            });
    }
}

struct DeltaSums {                  // of 32 columns
    F sums[kDeltaSums][2];

    DeltaSums() {
        for (auto& sum : sums) sum[0] = sum[1] = set_f(0.0f);
    }
    inline void add_row(int i, float factor, F s0, F s1) {
        sums[i][0] = fma(set_f(factor), s0, sums[i][0]);
        sums[i][1] = fma(set_f(factor), s1, sums[i][1]);
    }
    inline F total(int half) const { return add(add(sums[0][half], sums[1][half]), add(sums[2][half], sums[3][half])); }
};

template <class Fn> static inline void delta_rows(int k_dim, Fn fn) {    // fn(row, which sum)
    int i = 0;
    for (; i + kDeltaSums <= k_dim; i += kDeltaSums) {
        fn(i, 0);
        fn(i + 1, 1);
        fn(i + 2, 2);
        fn(i + 3, 3);
    }
    // Which sum is always a constant, so that they stay in registers.
    if (i < k_dim) fn(i, 0);
    if (i + 1 < k_dim) fn(i + 1, 1);
    if (i + 2 < k_dim) fn(i + 2, 2);
}

// One token: v and out are of 32 columns, s (k_dim, 32) is what is known of them.
template <bool per_key>
static inline void delta_token(float* s, int k_dim, const float* q, const float* k, const float* decay, float beta,
                               const F v[2], F out[2]) {
    DeltaSums said, answer;
    delta_rows(k_dim, [&](int i, int sum) {
        const float* row = s + i * kDeltaCols;
        said.add_row(sum, per_key ? decay[i] * k[i] : k[i], load_f(row), load_f(row + 16));
    });
    F error[2];
    for (int half = 0; half < 2; ++half) {
        F known = per_key ? said.total(half) : mul(said.total(half), set_f(decay[0]));
        error[half] = mul(sub(v[half], known), set_f(beta));
    }
    delta_rows(k_dim, [&](int i, int sum) {
        float* row = s + i * kDeltaCols;
        const F kept = set_f(decay[per_key ? i : 0]), key = set_f(k[i]);
        F s0 = fma(key, error[0], mul(load_f(row), kept)), s1 = fma(key, error[1], mul(load_f(row + 16), kept));
        store_f(row, s0);
        store_f(row + 16, s1);
        answer.add_row(sum, q[i], s0, s1);
    });
    for (int half = 0; half < 2; ++half) out[half] = answer.total(half);
}

static inline F delta_load(const float* x, int n) { return n <= 0 ? set_f(0.0f) : load_part(x, n < 16 ? n : 16); }

static inline void delta_store(float* x, F y, int n) {
    if (n > 0) store_part(x, y, n < 16 ? n : 16);
}

template <bool per_key> static void delta_columns(const DeltaArgs& a, float* s, int seq, int head, int col) {
    const int n = a.v_dim - col, n_rep = a.n_v_heads / a.n_k_heads;
    const int64_t key_at = static_cast<int64_t>(a.tiled ? head % a.n_k_heads : head / n_rep) * a.k_dim;
    const int64_t head_floats = static_cast<int64_t>(a.k_dim) * a.v_dim, value_at = static_cast<int64_t>(head) * a.v_dim + col;
    auto state = [&](int32_t row) { return a.state + (static_cast<int64_t>(row) * a.n_v_heads + head) * head_floats + col; };
    const float* from = a.seqs.reads[seq] < 0 ? nullptr : state(a.seqs.reads[seq]);
    for (int i = 0; i < a.k_dim; ++i)
        for (int half = 0; half < 2; ++half)
            store_f(s + i * kDeltaCols + 16 * half,
                    from ? delta_load(from + static_cast<int64_t>(i) * a.v_dim + 16 * half, n - 16 * half) : set_f(0.0f));
    for (int64_t token = a.seqs.starts[seq]; token < a.seqs.starts[seq + 1]; ++token) {
        const DeltaReady ready(a, token);
        const float* value = a.v + token * a.v_stride + value_at;
        const F v[2] = {delta_load(value, n), delta_load(value + 16, n - 16)};
        F y[2];
        delta_token<per_key>(s, a.k_dim, ready.q + key_at, ready.k + key_at, ready.decay + static_cast<int64_t>(head) * a.decay_dim,
                             ready.beta[head], v, y);
        float* out = a.out + token * a.n_v_heads * a.v_dim + value_at;
        for (int half = 0; half < 2; ++half) delta_store(out + 16 * half, y[half], n - 16 * half);
    }
    float* to = state(a.seqs.writes[seq]);
    for (int i = 0; i < a.k_dim; ++i)
        for (int half = 0; half < 2; ++half)
            delta_store(to + static_cast<int64_t>(i) * a.v_dim + 16 * half, load_f(s + i * kDeltaCols + 16 * half), n - 16 * half);
}

static void delta_scan(const void* args, Scratch scratch, int64_t first, int64_t last) {
    const DeltaArgs& a = *static_cast<const DeltaArgs*>(args);
    const int n_tiles = (a.v_dim + kDeltaCols - 1) / kDeltaCols;
    float* s = reinterpret_cast<float*>(scratch.data);
    for (int64_t item = first; item < last; ++item) {
        const int col = static_cast<int>(item % n_tiles) * kDeltaCols;
        const int head = static_cast<int>(item / n_tiles % a.n_v_heads), seq = static_cast<int>(item / n_tiles / a.n_v_heads);
        if (a.decay_dim == 1) delta_columns<false>(a, s, seq, head, col);
        else delta_columns<true>(a, s, seq, head, col);
    }
}

}}  // namespace gristmill::GM_LEVEL
