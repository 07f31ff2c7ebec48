// How keys and values lie in a page of 16 tokens, and reading and writing them in each cache type.
//
// A page holds head after head. A head's keys are (k_dim, 16 tokens), so that a vector holds one element of 16 keys;
// its values are (16 tokens, v_dim). Quantized, the codes lie like that, then come float16 scales (dim / 32, 16 tokens).
// Codes of 4 bits: in a block of 32 elements, element i < 16 shares its byte with element i + 16.
#pragma once

namespace gristmill { namespace GM_LEVEL {

struct KvF32 {
    static constexpr int kBytes = 4;
    static inline F load(const uint8_t* p) { return load_f(reinterpret_cast<const float*>(p)); }
    static inline void store(uint8_t* p, F x) { store_f(reinterpret_cast<float*>(p), x); }
};
struct KvF16 {
    static constexpr int kBytes = 2;
    static inline F load(const uint8_t* p) { return load_f16(p); }
    static inline void store(uint8_t* p, F x) { store_f16(p, x); }
};
struct KvBf16 {
    static constexpr int kBytes = 2;
    static inline F load(const uint8_t* p) { return load_bf16(p); }
    static inline void store(uint8_t* p, F x) { store_bf16(p, x); }
};

// n < 16 elements from p, zeros after them; reads nothing past them.
template <class E> static inline F load_some(const uint8_t* p, int n) {
    alignas(64) uint8_t lanes[64] = {};
    __builtin_memcpy(lanes, p, static_cast<size_t>(n) * E::kBytes);
    return E::load(lanes);
}

template <class E> struct PlainKv {
    static int64_t head_bytes(int dim) { return static_cast<int64_t>(16) * dim * E::kBytes; }
    static inline int k_at(int i) { return 16 * E::kBytes * i; }
    static inline int v_at(int token, int i, int dim) { return (token * dim + i) * E::kBytes; }
    static inline F load_k(const uint8_t* head, int i, int) { return E::load(head + k_at(i)); }
    static inline F load_v(const uint8_t* head, int token, int i, int dim) {
        const uint8_t* p = head + v_at(token, i, dim);
        return dim - i >= 16 ? E::load(p) : load_some<E>(p, dim - i);
    }
    static void store_k(uint8_t* head, int token, const float* x, int dim) {
        for_each(x, dim, [&](int i, const uint8_t* e) {
            __builtin_memcpy(head + (16 * i + token) * E::kBytes, e, E::kBytes);
        });
    }
    static void store_v(uint8_t* head, int token, const float* x, int dim) {
        uint8_t* row = head + static_cast<int64_t>(token) * dim * E::kBytes;
        for_each(x, dim, [&](int i, const uint8_t* e) { __builtin_memcpy(row + i * E::kBytes, e, E::kBytes); });
    }

private:
    template <class Put> static inline void for_each(const float* x, int dim, Put put) {
        alignas(64) uint8_t lanes[64];
        for (int i = 0; i < dim; i += 16) {
            int n = dim - i < 16 ? dim - i : 16;
            E::store(lanes, load_part(x + i, n));
            for (int j = 0; j < n; ++j) put(i + j, lanes + j * E::kBytes);
        }
    }
};

struct Q8Kv {                       // dim is a multiple of 32
    static int64_t head_bytes(int dim) { return static_cast<int64_t>(17) * dim; }
    static inline int k_at(int i) { return 16 * i; }
    static inline int v_at(int token, int i, int dim) { return token * dim + i; }
    static inline F load_k(const uint8_t* head, int i, int dim) {
        return mul(to_f(widen_i8(head + k_at(i))), load_f16(head + 16 * dim + i / 32 * 32));
    }
    static inline F load_v(const uint8_t* head, int token, int i, int dim) {
        float d = f16_at(head + 16 * dim + (i / 32 * 16 + token) * 2);
        return mul(to_f(widen_i8(head + v_at(token, i, dim))), set_f(d));
    }
    static void store_k(uint8_t* head, int token, const float* x, int dim) { store(head, token, x, dim, 16, 1); }
    static void store_v(uint8_t* head, int token, const float* x, int dim) { store(head, token, x, dim, 1, dim); }

private:
    static void store(uint8_t* head, int token, const float* x, int dim, int element_stride, int token_stride) {
        for (int i = 0; i < dim; i += 32) {
            F a = load_f(x + i), b = load_f(x + i + 16);
            float highest = max_f(max(abs(a), abs(b)));
            alignas(64) uint8_t half[32];
            store_f16(half, set_f(highest / 127.0f));
            __builtin_memcpy(head + 16 * dim + (i / 32 * 16 + token) * 2, half, 2);
            F inverse = set_f(highest > 0.0f ? 127.0f / highest : 0.0f);
            uint8_t codes[32];
            store_low_b(codes, round_i(mul(a, inverse)));
            store_low_b(codes + 16, round_i(mul(b, inverse)));
            for (int j = 0; j < 32; ++j) head[(i + j) * element_stride + token * token_stride] = codes[j];
        }
    }
};

// The element of largest magnitude among x[0..32), the first of them.
static inline float largest(const float* x) {
    F a = load_f(x), b = load_f(x + 16), zero = set_f(0.0f);
    const float highest = max_f(max(a, b)), lowest = max_f(max(sub(zero, a), sub(zero, b)));
    if (highest != lowest) return highest > lowest ? highest : -lowest;
    int i = 0;
    while (i < 31 && __builtin_fabsf(x[i]) != highest) ++i;
    return x[i];
}

// As GGML's Q4_0: the element of largest magnitude becomes code 0, and a code stands for scale * (code - 8).
struct Q4Kv {                       // dim is a multiple of 32
    static int64_t head_bytes(int dim) { return static_cast<int64_t>(9) * dim; }
    static inline int k_at(int i) { return 16 * (i / 32 * 16 + i % 16); }
    static inline int v_at(int token, int i, int dim) { return token * (dim / 2) + i / 32 * 16; }
    static inline F load_k(const uint8_t* head, int i, int dim) {
        return mul(numbers(head + k_at(i), i), load_f16(head + 8 * dim + i / 32 * 32));
    }
    static inline F load_v(const uint8_t* head, int token, int i, int dim) {
        float d = f16_at(head + 8 * dim + (i / 32 * 16 + token) * 2);
        return mul(numbers(head + v_at(token, i, dim), i), set_f(d));
    }
    static void store_k(uint8_t* head, int token, const float* x, int dim) {
        store(head, token, x, dim, [&](int block, const uint8_t* codes) {
            for (int j = 0; j < 16; ++j) head[(16 * block + j) * 16 + token] = codes[j];
        });
    }
    static void store_v(uint8_t* head, int token, const float* x, int dim) {
        store(head, token, x, dim, [&](int block, const uint8_t* codes) {
            __builtin_memcpy(head + v_at(token, 32 * block, dim), codes, 16);
        });
    }

private:
    static inline F numbers(const uint8_t* p, int i) {
        I bytes = widen_u8(p);
        return to_f(add_i(i & 16 ? shr_i<4>(bytes) : and_i(bytes, set_i(15)), set_i(-8)));
    }
    static inline I codes_of(const float* x, F inverse) {
        F level = add(mul(load_f(x), inverse), set_f(8.5f));
        return trunc_i(min(max(level, set_f(0.0f)), set_f(15.0f)));
    }
    template <class Put> static void store(uint8_t* head, int token, const float* x, int dim, Put put) {
        for (int block = 0; 32 * block < dim; ++block, x += 32) {
            const float d = largest(x) / -8.0f;
            alignas(64) uint8_t half[32], codes[16];
            store_f16(half, set_f(d));
            __builtin_memcpy(head + 8 * dim + (16 * block + token) * 2, half, 2);
            F inverse = set_f(d != 0.0f ? 1.0f / d : 0.0f);
            store_low_b(codes, or_i(codes_of(x, inverse), shl_i<4>(codes_of(x + 16, inverse))));
            put(block, codes);
        }
    }
};

}}  // namespace gristmill::GM_LEVEL
