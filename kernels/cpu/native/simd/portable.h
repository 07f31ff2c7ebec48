// The vector primitives in plain C++: what every other level must compute, bit for bit.
//
// A vector has 16 lanes of 32 bits: F are float32, I are int32 or, where a name ends in _b, 64 bytes. The compiler's
// vector types take whatever the processor has for them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gristmill { namespace GM_LEVEL {

typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint8_t Bytes __attribute__((vector_size(64)));

constexpr int kBigTile = 4, kMidTile = 2;       // tokens of a matmul tile
constexpr bool kFused = false;                  // one token's codes go into the products without a stop in memory
constexpr int kSignedOffset = 0;                // what dot_ss wants signed codes to be higher by
constexpr bool kHasBf16Dot = false;

// -- int32 and bytes --
static inline I load_i(const void* p) { I r; __builtin_memcpy(&r, p, 64); return r; }
static inline void store_i(void* p, I x) { __builtin_memcpy(p, &x, 64); }
static inline I set_i(int32_t x) { return I{} + x; }
static inline I set_b(uint8_t x) { return (I)(Bytes{} + x); }
static inline I and_i(I x, I y) { return x & y; }
static inline I or_i(I x, I y) { return x | y; }
static inline I xor_i(I x, I y) { return x ^ y; }
template <int n> static inline I shr_i(I x) { return (I)((Words)x >> n); }
template <int n> static inline I shl_i(I x) { return (I)((Words)x << n); }
static inline I shr_v(I x, int n) { return (I)((Words)x >> n); }
static inline I add_i(I x, I y) { return (I)((Words)x + (Words)y); }
static inline I add_b(I x, I y) { return (I)((Bytes)x + (Bytes)y); }
static inline I sub_b(I x, I y) { return (I)((Bytes)x - (Bytes)y); }
static inline I min_b(I x, I y) { return (I)((Bytes)x < (Bytes)y ? (Bytes)x : (Bytes)y); }
static inline I subs_b(I x, I y) { return (I)((Bytes)x > (Bytes)y ? (Bytes)x - (Bytes)y : Bytes{}); }    // saturates at 0
static inline I lookup_b(const uint8_t table[16], I index) {                                            // index 0 to 15
    uint8_t at[64], out[64];
    store_i(at, index);
    for (int i = 0; i < 64; ++i) out[i] = table[at[i]];
    return load_i(out);
}
static inline I gather(const uint32_t* table, I index) {
    uint32_t at[16], out[16];
    store_i(at, index);
    for (int i = 0; i < 16; ++i) out[i] = table[at[i]];
    return load_i(out);
}
template <class T> static inline I widen(const void* p) {
    int32_t out[16];
    for (int i = 0; i < 16; ++i) out[i] = static_cast<const T*>(p)[i];
    return load_i(out);
}
static inline I widen_u8(const void* p) { return widen<uint8_t>(p); }                                    // 16 bytes
static inline I widen_i8(const void* p) { return widen<int8_t>(p); }
static inline void store_low_b(void* p, I x) {                                                           // 16 bytes
    for (int i = 0; i < 16; ++i) static_cast<uint8_t*>(p)[i] = static_cast<uint8_t>(x[i]);
}
static inline int32_t sum_i(I x) {
    uint32_t sum = 0;
    for (int i = 0; i < 16; ++i) sum += static_cast<uint32_t>(x[i]);
    return static_cast<int32_t>(sum);
}

// acc + the four products of each lane's bytes. us: w unsigned, at most 127; ss: w signed, with kSignedOffset added.
static inline I dot_ss(I acc, I w, I a) {
    int8_t left[64], right[64];
    int32_t sums[16];
    store_i(left, w);
    store_i(right, a);
    for (int i = 0; i < 16; ++i) {
        int32_t sum = 0;
        for (int j = 0; j < 4; ++j) sum += left[4 * i + j] * right[4 * i + j];
        sums[i] = sum;
    }
    return add_i(acc, load_i(sums));
}
static inline I dot_us(I acc, I w, I a) { return dot_ss(acc, w, a); }

// -- float32 --
static inline F load_f(const float* p) { F r; __builtin_memcpy(&r, p, 64); return r; }
static inline void store_f(float* p, F x) { __builtin_memcpy(p, &x, 64); }
static inline F load_part(const float* p, int n) {                                                       // zeros after n
    F r{};
    __builtin_memcpy(&r, p, static_cast<size_t>(n) * 4);
    return r;
}
static inline void store_part(float* p, F x, int n) { __builtin_memcpy(p, &x, static_cast<size_t>(n) * 4); }
static inline F set_f(float x) { return x - F{}; }      // x + 0 would lose the sign of -0
static inline F to_f(I x) { return __builtin_convertvector(x, F); }
static inline F as_f(I x) { return (F)x; }
static inline I as_i(F x) { return (I)x; }
static inline F add(F x, F y) { return x + y; }
static inline F sub(F x, F y) { return x - y; }
static inline F mul(F x, F y) { return x * y; }
static inline F div(F x, F y) { return x / y; }
static inline F fma(F x, F y, F z) {
    for (int i = 0; i < 16; ++i) z[i] = __builtin_fmaf(x[i], y[i], z[i]);
    return z;
}
static inline F max(F x, F y) { return x > y ? x : y; }                                                  // y where either is NaN
static inline F min(F x, F y) { return x < y ? x : y; }
static inline F pick(F x, F y, F a, F b) { return x > y ? a : b; }                                       // b where either is NaN
static inline I pick(F x, F y, I a, I b) { return x > y ? a : b; }
static inline F sqrt_f(F x) {
    for (int i = 0; i < 16; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
}
static inline F abs(F x) { return (F)((I)x & 0x7FFFFFFF); }
static inline I round_i(F x) {      // to nearest, ties to even: the addition rounds. |x| below 2^22; 0 for NaN.
    F shifted = x + 12582912.0f;
    return x == x ? (I)shifted - 0x4B400000 : I{};
}
static inline I trunc_i(F x) { return __builtin_convertvector(x, I); }      // towards 0; |x| below 2^31
static inline F zero_below(F x, float limit, F y) { return x < limit ? F{} : y; }                        // y where x is NaN
static inline F keep(F x, int first, int last, float fill) {
    for (int i = 0; i < 16; ++i)
        if (i < first || i >= last) x[i] = fill;
    return x;
}
static inline float lane0(F x) { return x[0]; }
// Lanes are folded in halves: i with i + 8, then + 4, + 2, + 1.
static inline float sum_f(F x) {
    for (int n = 8; n; n /= 2)
        for (int i = 0; i < n; ++i) x[i] += x[i + n];
    return x[0];
}
static inline float max_f(F x) {
    for (int n = 8; n; n /= 2)
        for (int i = 0; i < n; ++i) x[i] = x[i] > x[i + n] ? x[i] : x[i + n];
    return x[0];
}

// -- 16-bit floats --
static inline float f16_bits(uint16_t bits) {
    uint32_t magnitude = bits & 0x7FFFu, out;
    if (magnitude >= 0x7C00u) out = 0x7F800000u | (magnitude & 0x3FFu) << 13 | (magnitude > 0x7C00u ? 0x400000u : 0);
    else out = magnitude << 13;     // denormal numbers, too: the product below puts the exponent right
    float x;
    __builtin_memcpy(&x, &out, 4);
    if (magnitude < 0x7C00u) x *= 0x1p112f;
    return bits & 0x8000u ? -x : x;
}
static inline uint16_t f16_from(float x) {      // to nearest even
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
    if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);
    if (magnitude < 0x38800000u) {              // denormal: adding 0.5 leaves the code in the low bits
        float small = __builtin_fabsf(x) + 0.5f;
        __builtin_memcpy(&bits, &small, 4);
        return static_cast<uint16_t>(sign | (bits - 0x3F000000u));
    }
    return static_cast<uint16_t>(sign | ((magnitude + 0xFFFu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13));
}
static inline uint16_t bf16_from(float x) {     // to nearest even; NaN keeps a set bit
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    if (x != x) return static_cast<uint16_t>(bits >> 16 | 64);
    return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}
static inline uint16_t u16_at(const void* p, int i) {
    uint16_t bits;
    __builtin_memcpy(&bits, static_cast<const uint8_t*>(p) + 2 * i, 2);
    return bits;
}
static inline float f16_at(const void* p) { return f16_bits(u16_at(p, 0)); }
static inline F load_f16(const void* p) {
    float out[16];
    for (int i = 0; i < 16; ++i) out[i] = f16_bits(u16_at(p, i));
    return load_f(out);
}
static inline F load_bf16(const void* p) {
    uint32_t out[16];
    for (int i = 0; i < 16; ++i) out[i] = static_cast<uint32_t>(u16_at(p, i)) << 16;
    return as_f(load_i(out));
}
template <class Convert> static inline void store_16(void* p, F x, Convert convert) {
    uint16_t out[16];
    for (int i = 0; i < 16; ++i) out[i] = convert(x[i]);
    __builtin_memcpy(p, out, 32);
}
static inline void store_f16(void* p, F x) { store_16(p, x, f16_from); }
static inline void store_bf16(void* p, F x) { store_16(p, x, bf16_from); }
static inline F dot_bf16(F acc, I, I) { return acc; }

}}  // namespace gristmill::GM_LEVEL
