// The vector primitives on AVX-512 (F, BW, VL, DQ). GM_VNNI and GM_BF16 say what else the level may use.
//
// A vector has 16 lanes of 32 bits: F are float32, I are int32 or, where a name ends in _b, 64 bytes.
// simd/portable.h states in plain loops what each primitive does; all levels must agree bit for bit.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace gristmill { namespace GM_LEVEL {

using F = __m512;
using I = __m512i;

constexpr int kBigTile = 12, kMidTile = 4;      // tokens of a matmul tile: 12 * 2 accumulators fill 32 registers
constexpr bool kFused = true;                  // one token's codes go into the products without a stop in memory
#ifdef GM_VNNI
constexpr int kSignedOffset = 128;              // dot_ss wants signed codes with this added
#else
constexpr int kSignedOffset = 0;
#endif

// -- int32 and bytes --
static inline I load_i(const void* p) { return _mm512_loadu_si512(p); }
static inline void store_i(void* p, I x) { _mm512_storeu_si512(p, x); }
static inline I set_i(int32_t x) { return _mm512_set1_epi32(x); }
static inline I set_b(uint8_t x) { return _mm512_set1_epi8(static_cast<char>(x)); }
static inline I and_i(I x, I y) { return _mm512_and_si512(x, y); }
static inline I or_i(I x, I y) { return _mm512_or_si512(x, y); }
static inline I xor_i(I x, I y) { return _mm512_xor_si512(x, y); }
template <int n> static inline I shr_i(I x) { return _mm512_srli_epi32(x, n); }
template <int n> static inline I shl_i(I x) { return _mm512_slli_epi32(x, n); }
static inline I shr_v(I x, int n) { return _mm512_srl_epi32(x, _mm_cvtsi32_si128(n)); }
static inline I add_i(I x, I y) { return _mm512_add_epi32(x, y); }
static inline I add_b(I x, I y) { return _mm512_add_epi8(x, y); }
static inline I sub_b(I x, I y) { return _mm512_sub_epi8(x, y); }
static inline I subs_b(I x, I y) { return _mm512_subs_epu8(x, y); }
static inline I min_b(I x, I y) { return _mm512_min_epu8(x, y); }
static inline I lookup_b(const uint8_t table[16], I index) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)table)), index);
}
static inline I gather(const uint32_t* table, I index) { return _mm512_i32gather_epi32(index, table, 4); }
static inline I widen_u8(const void* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)); }
static inline I widen_i8(const void* p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)); }
static inline void store_low_b(void* p, I x) { _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(x)); }
static inline int32_t sum_i(I x) { return _mm512_reduce_add_epi32(x); }

// acc + the four products of each lane's bytes. us: w unsigned, at most 127; ss: w signed, with kSignedOffset added.
#ifdef GM_VNNI
static inline I dot_us(I acc, I w, I a) { return _mm512_dpbusd_epi32(acc, w, a); }
static inline I dot_ss(I acc, I w, I a) { return _mm512_dpbusd_epi32(acc, w, a); }
#else
static inline I dot_us(I acc, I w, I a) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_maddubs_epi16(w, a), _mm512_set1_epi16(1)));
}
static inline I dot_ss(I acc, I w, I a) {       // |w| times a with w's sign: sums of two fit into 16 bits
    I signed_a = _mm512_mask_sub_epi8(a, _mm512_movepi8_mask(w), _mm512_setzero_si512(), a);
    return dot_us(acc, _mm512_abs_epi8(w), signed_a);
}
#endif

// -- float32 --
static inline F load_f(const float* p) { return _mm512_loadu_ps(p); }
static inline void store_f(float* p, F x) { _mm512_storeu_ps(p, x); }
static inline F load_part(const float* p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
static inline void store_part(float* p, F x, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x); }
static inline F set_f(float x) { return _mm512_set1_ps(x); }
static inline F to_f(I x) { return _mm512_cvtepi32_ps(x); }
static inline I round_i(F x) { return _mm512_cvtps_epi32(x); }
static inline I trunc_i(F x) { return _mm512_cvttps_epi32(x); }
static inline F as_f(I x) { return _mm512_castsi512_ps(x); }
static inline I as_i(F x) { return _mm512_castps_si512(x); }
static inline F add(F x, F y) { return _mm512_add_ps(x, y); }
static inline F sub(F x, F y) { return _mm512_sub_ps(x, y); }
static inline F mul(F x, F y) { return _mm512_mul_ps(x, y); }
static inline F div(F x, F y) { return _mm512_div_ps(x, y); }
static inline F fma(F x, F y, F z) { return _mm512_fmadd_ps(x, y, z); }
static inline F max(F x, F y) { return _mm512_max_ps(x, y); }       // y where either is NaN
static inline F min(F x, F y) { return _mm512_min_ps(x, y); }
static inline F pick(F x, F y, F a, F b) { return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ), a); }
static inline I pick(F x, F y, I a, I b) { return _mm512_mask_mov_epi32(b, _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ), a); }
static inline F sqrt_f(F x) { return _mm512_sqrt_ps(x); }
static inline F abs(F x) { return _mm512_abs_ps(x); }
static inline F zero_below(F x, float limit, F y) {                 // y where x >= limit or x is NaN, else 0
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, set_f(limit), _CMP_NLT_UQ), y);
}
static inline F keep(F x, int first, int last, float fill) {        // lanes [first, last) of x, else fill
    uint32_t below_last = last >= 16 ? 0xFFFFu : last <= 0 ? 0u : (1u << last) - 1;
    uint32_t below_first = first >= 16 ? 0xFFFFu : first <= 0 ? 0u : (1u << first) - 1;
    return _mm512_mask_mov_ps(set_f(fill), (__mmask16)(below_last & ~below_first), x);
}
// Lanes are folded in halves: i with i + 8, then + 4, + 2, + 1.
static inline float sum_f(F x) {
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
static inline float lane0(F x) { return _mm512_cvtss_f32(x); }
static inline float max_f(F x) { return _mm512_reduce_max_ps(x); }

// -- 16-bit floats --
static inline F load_f16(const void* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
static inline float f16_at(const void* p) {
    uint16_t bits;
    __builtin_memcpy(&bits, p, 2);
    return _cvtsh_ss(bits);
}
static inline F load_bf16(const void* p) {
    return as_f(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
static inline void store_f16(void* p, F x) { _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(x, 0)); }
static inline void store_bf16(void* p, F x) {       // to nearest even; NaN keeps a set bit
    I bits = as_i(x), odd = and_i(shr_i<16>(bits), set_i(1));
    I rounded = shr_i<16>(add_i(bits, add_i(odd, set_i(0x7FFF))));
    I nan = or_i(shr_i<16>(bits), set_i(64));
    I out = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), nan);
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(out));
}
#ifdef GM_BF16
constexpr bool kHasBf16Dot = true;
static inline F dot_bf16(F acc, I w, I a) { return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)a); }
#else
constexpr bool kHasBf16Dot = false;
static inline F dot_bf16(F acc, I, I) { return acc; }
#endif

}}  // namespace gristmill::GM_LEVEL
