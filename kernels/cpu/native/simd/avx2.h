// The vector primitives on AVX2 with FMA and F16C: a vector is two halves of 8 lanes. See portable.h.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace gristmill { namespace GM_LEVEL {

struct F { __m256 a, b; };
struct I { __m256i a, b; };

constexpr int kBigTile = 4, kMidTile = 2;
constexpr bool kFused = true;
constexpr int kSignedOffset = 0;
constexpr bool kHasBf16Dot = false;

#define GM_BOTH(type, instruction, ...) return type{instruction(x.a, ##__VA_ARGS__), instruction(x.b, ##__VA_ARGS__)}
#define GM_PAIRS(type, instruction) return type{instruction(x.a, y.a), instruction(x.b, y.b)}

// -- int32 and bytes --
static inline I load_i(const void* p) {
    const __m256i* q = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
static inline void store_i(void* p, I x) {
    __m256i* q = static_cast<__m256i*>(p);
    _mm256_storeu_si256(q, x.a);
    _mm256_storeu_si256(q + 1, x.b);
}
static inline I both(__m256i x) { return {x, x}; }
static inline I set_i(int32_t x) { return both(_mm256_set1_epi32(x)); }
static inline I set_b(uint8_t x) { return both(_mm256_set1_epi8(static_cast<char>(x))); }
static inline I and_i(I x, I y) { GM_PAIRS(I, _mm256_and_si256); }
static inline I or_i(I x, I y) { GM_PAIRS(I, _mm256_or_si256); }
static inline I xor_i(I x, I y) { GM_PAIRS(I, _mm256_xor_si256); }
template <int n> static inline I shr_i(I x) { GM_BOTH(I, _mm256_srli_epi32, n); }
template <int n> static inline I shl_i(I x) { GM_BOTH(I, _mm256_slli_epi32, n); }
static inline I shr_v(I x, int n) { GM_BOTH(I, _mm256_srl_epi32, _mm_cvtsi32_si128(n)); }
static inline I add_i(I x, I y) { GM_PAIRS(I, _mm256_add_epi32); }
static inline I add_b(I x, I y) { GM_PAIRS(I, _mm256_add_epi8); }
static inline I sub_b(I x, I y) { GM_PAIRS(I, _mm256_sub_epi8); }
static inline I subs_b(I x, I y) { GM_PAIRS(I, _mm256_subs_epu8); }
static inline I min_b(I x, I y) { GM_PAIRS(I, _mm256_min_epu8); }
static inline I lookup_b(const uint8_t table[16], I index) {
    __m256i levels = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    return {_mm256_shuffle_epi8(levels, index.a), _mm256_shuffle_epi8(levels, index.b)};
}
static inline I gather(const uint32_t* table, I index) {
    const int* t = reinterpret_cast<const int*>(table);
    return {_mm256_i32gather_epi32(t, index.a, 4), _mm256_i32gather_epi32(t, index.b, 4)};
}
static inline __m128i eight(const void* p, int half) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(static_cast<const uint8_t*>(p) + 8 * half));
}
static inline I widen_u8(const void* p) { return {_mm256_cvtepu8_epi32(eight(p, 0)), _mm256_cvtepu8_epi32(eight(p, 1))}; }
static inline I widen_i8(const void* p) { return {_mm256_cvtepi8_epi32(eight(p, 0)), _mm256_cvtepi8_epi32(eight(p, 1))}; }
static inline __m128i low_words(__m256i x) {        // 8 lanes of 32 bits to 16
    __m256i packed = _mm256_packus_epi32(_mm256_and_si256(x, _mm256_set1_epi32(0xFFFF)), _mm256_setzero_si256());
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}
static inline void store_low_b(void* p, I x) {
    __m128i mask = _mm_set1_epi16(255), lo = _mm_and_si128(low_words(x.a), mask), hi = _mm_and_si128(low_words(x.b), mask);
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm_packus_epi16(lo, hi));
}
static inline int32_t sum_i(I x) {
    __m256i half = _mm256_add_epi32(x.a, x.b);
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

// Sums of two products fit into 16 bits: codes are at most 127, and activations at most 127 from zero.
static inline __m256i dot_half(__m256i acc, __m256i w, __m256i a) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), _mm256_set1_epi16(1)));
}
static inline I dot_us(I acc, I w, I a) { return {dot_half(acc.a, w.a, a.a), dot_half(acc.b, w.b, a.b)}; }
static inline I dot_ss(I acc, I w, I a) {           // |w| times a with w's sign
    return {dot_half(acc.a, _mm256_abs_epi8(w.a), _mm256_sign_epi8(a.a, w.a)),
            dot_half(acc.b, _mm256_abs_epi8(w.b), _mm256_sign_epi8(a.b, w.b))};
}

// -- float32 --
static inline F load_f(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void store_f(float* p, F x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
static inline __m256i lanes_below(int n) {          // all bits in the first n of 8 lanes
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline F load_part(const float* p, int n) {  // masked lanes are not read
    return {_mm256_maskload_ps(p, lanes_below(n)), n > 8 ? _mm256_maskload_ps(p + 8, lanes_below(n - 8)) : _mm256_setzero_ps()};
}
static inline void store_part(float* p, F x, int n) {
    _mm256_maskstore_ps(p, lanes_below(n), x.a);
    if (n > 8) _mm256_maskstore_ps(p + 8, lanes_below(n - 8), x.b);
}
static inline F set_f(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline F to_f(I x) { GM_BOTH(F, _mm256_cvtepi32_ps); }
static inline __m256i round_half(__m256 x) {        // 0 for NaN
    return _mm256_cvtps_epi32(_mm256_and_ps(x, _mm256_cmp_ps(x, x, _CMP_ORD_Q)));
}
static inline I round_i(F x) { GM_BOTH(I, round_half); }
static inline I trunc_i(F x) { GM_BOTH(I, _mm256_cvttps_epi32); }
static inline F as_f(I x) { GM_BOTH(F, _mm256_castsi256_ps); }
static inline I as_i(F x) { GM_BOTH(I, _mm256_castps_si256); }
static inline F add(F x, F y) { GM_PAIRS(F, _mm256_add_ps); }
static inline F sub(F x, F y) { GM_PAIRS(F, _mm256_sub_ps); }
static inline F mul(F x, F y) { GM_PAIRS(F, _mm256_mul_ps); }
static inline F div(F x, F y) { GM_PAIRS(F, _mm256_div_ps); }
static inline F fma(F x, F y, F z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
static inline F max(F x, F y) { GM_PAIRS(F, _mm256_max_ps); }       // y where either is NaN
static inline F min(F x, F y) { GM_PAIRS(F, _mm256_min_ps); }
static inline __m256 pick_half(__m256 x, __m256 y, __m256 a, __m256 b) {
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_GT_OQ));
}
static inline F pick(F x, F y, F a, F b) { return {pick_half(x.a, y.a, a.a, b.a), pick_half(x.b, y.b, a.b, b.b)}; }
static inline I pick(F x, F y, I a, I b) { return as_i(pick(x, y, as_f(a), as_f(b))); }
static inline F sqrt_f(F x) { GM_BOTH(F, _mm256_sqrt_ps); }
static inline F abs(F x) { return as_f(and_i(as_i(x), set_i(0x7FFFFFFF))); }
static inline __m256 clear_below(__m256 x, __m256 limit, __m256 y) {
    return _mm256_and_ps(_mm256_cmp_ps(x, limit, _CMP_NLT_UQ), y);
}
static inline F zero_below(F x, float limit, F y) {
    __m256 at = _mm256_set1_ps(limit);
    return {clear_below(x.a, at, y.a), clear_below(x.b, at, y.b)};
}
static inline __m256 keep_half(__m256 x, int first, int last, float fill) {
    __m256i kept = _mm256_andnot_si256(lanes_below(first), lanes_below(last));
    return _mm256_blendv_ps(_mm256_set1_ps(fill), x, _mm256_castsi256_ps(kept));
}
static inline F keep(F x, int first, int last, float fill) {
    return {keep_half(x.a, first, last, fill), keep_half(x.b, first - 8, last - 8, fill)};
}
static inline float lane0(F x) { return _mm256_cvtss_f32(x.a); }
// Lanes are folded in halves: i with i + 8, then + 4, + 2, + 1.
static inline float sum_f(F x) {
    __m256 a = _mm256_add_ps(x.a, x.b);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
static inline float max_f(F x) {
    __m256 a = _mm256_max_ps(x.a, x.b);
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

// -- 16-bit floats --
static inline float f16_at(const void* p) {
    uint16_t bits;
    __builtin_memcpy(&bits, p, 2);
    return _cvtsh_ss(bits);
}
static inline __m128i sixteen_bits(const void* p, int half) { return _mm_loadu_si128(static_cast<const __m128i*>(p) + half); }
static inline F load_f16(const void* p) { return {_mm256_cvtph_ps(sixteen_bits(p, 0)), _mm256_cvtph_ps(sixteen_bits(p, 1))}; }
static inline F load_bf16(const void* p) {
    return as_f(shl_i<16>(I{_mm256_cvtepu16_epi32(sixteen_bits(p, 0)), _mm256_cvtepu16_epi32(sixteen_bits(p, 1))}));
}
static inline void store_f16(void* p, F x) {
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_cvtps_ph(x.a, 0));
    _mm_storeu_si128(static_cast<__m128i*>(p) + 1, _mm256_cvtps_ph(x.b, 0));
}
static inline __m128i bf16_half(__m256 x) {         // to nearest even; NaN keeps a set bit
    __m256i bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    __m256i nan = _mm256_or_si256(bits, _mm256_set1_epi32(64 << 16));
    __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return low_words(_mm256_srli_epi32(_mm256_blendv_epi8(rounded, nan, is_nan), 16));
}
static inline void store_bf16(void* p, F x) {
    _mm_storeu_si128(static_cast<__m128i*>(p), bf16_half(x.a));
    _mm_storeu_si128(static_cast<__m128i*>(p) + 1, bf16_half(x.b));
}
static inline F dot_bf16(F acc, I, I) { return acc; }

#undef GM_BOTH
#undef GM_PAIRS

}}  // namespace gristmill::GM_LEVEL
