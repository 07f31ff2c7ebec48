// The vector primitives on AArch64 NEON: a vector is four quarters of 4 lanes. See portable.h. GM_DOTPROD and GM_I8MM
// say what else the level may use.
#pragma once
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace gristmill { namespace GM_LEVEL {

struct F { float32x4_t q[4]; };
struct I { int32x4_t q[4]; };

constexpr int kBigTile = 4, kMidTile = 2;
constexpr bool kFused = true;
constexpr int kSignedOffset = 0;
constexpr bool kHasBf16Dot = false;

// Each quarter by an expression over its number i.
#define GM_F(expression) F r; for (int i = 0; i < 4; ++i) r.q[i] = (expression); return r
#define GM_I(expression) I r; for (int i = 0; i < 4; ++i) r.q[i] = (expression); return r
#define GM_U32(x) vreinterpretq_u32_s32(x)
#define GM_U8(x) vreinterpretq_u8_s32(x)
#define GM_S8(x) vreinterpretq_s8_s32(x)

// -- int32 and bytes --
static inline const uint8_t* bytes_at(const void* p, int n) { return static_cast<const uint8_t*>(p) + n; }
static inline I load_i(const void* p) { GM_I(vreinterpretq_s32_u8(vld1q_u8(bytes_at(p, 16 * i)))); }
static inline void store_i(void* p, I x) {
    for (int i = 0; i < 4; ++i) vst1q_u8(static_cast<uint8_t*>(p) + 16 * i, GM_U8(x.q[i]));
}
static inline I set_i(int32_t x) { GM_I(vdupq_n_s32(x)); }
static inline I set_b(uint8_t x) { GM_I(vreinterpretq_s32_u8(vdupq_n_u8(x))); }
static inline I and_i(I x, I y) { GM_I(vandq_s32(x.q[i], y.q[i])); }
static inline I or_i(I x, I y) { GM_I(vorrq_s32(x.q[i], y.q[i])); }
static inline I xor_i(I x, I y) { GM_I(veorq_s32(x.q[i], y.q[i])); }
static inline I shift(I x, int n) { GM_I(vreinterpretq_s32_u32(vshlq_u32(GM_U32(x.q[i]), vdupq_n_s32(n)))); }   // left
template <int n> static inline I shr_i(I x) { return shift(x, -n); }
template <int n> static inline I shl_i(I x) { return shift(x, n); }
static inline I shr_v(I x, int n) { return shift(x, -n); }
static inline I add_i(I x, I y) { GM_I(vaddq_s32(x.q[i], y.q[i])); }
static inline I add_b(I x, I y) { GM_I(vreinterpretq_s32_u8(vaddq_u8(GM_U8(x.q[i]), GM_U8(y.q[i])))); }
static inline I sub_b(I x, I y) { GM_I(vreinterpretq_s32_u8(vsubq_u8(GM_U8(x.q[i]), GM_U8(y.q[i])))); }
static inline I subs_b(I x, I y) { GM_I(vreinterpretq_s32_u8(vqsubq_u8(GM_U8(x.q[i]), GM_U8(y.q[i])))); }
static inline I min_b(I x, I y) { GM_I(vreinterpretq_s32_u8(vminq_u8(GM_U8(x.q[i]), GM_U8(y.q[i])))); }
static inline I lookup_b(const uint8_t table[16], I index) {
    uint8x16_t levels = vld1q_u8(table);
    GM_I(vreinterpretq_s32_u8(vqtbl1q_u8(levels, GM_U8(index.q[i]))));
}
static inline I gather(const uint32_t* table, I index) {
    uint32_t at[16], out[16];
    store_i(at, index);
    for (int i = 0; i < 16; ++i) out[i] = table[at[i]];
    return load_i(out);
}
static inline I widen_u8(const void* p) {
    uint8x16_t x = vld1q_u8(static_cast<const uint8_t*>(p));
    uint16x8_t lo = vmovl_u8(vget_low_u8(x)), hi = vmovl_u8(vget_high_u8(x));
    return {{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(lo))), vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(lo))),
             vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(hi))), vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(hi)))}};
}
static inline I widen_i8(const void* p) {
    int8x16_t x = vld1q_s8(static_cast<const int8_t*>(p));
    int16x8_t lo = vmovl_s8(vget_low_s8(x)), hi = vmovl_s8(vget_high_s8(x));
    return {{vmovl_s16(vget_low_s16(lo)), vmovl_s16(vget_high_s16(lo)), vmovl_s16(vget_low_s16(hi)),
             vmovl_s16(vget_high_s16(hi))}};
}
static inline void store_low_b(void* p, I x) {
    int16x8_t lo = vcombine_s16(vmovn_s32(x.q[0]), vmovn_s32(x.q[1])), hi = vcombine_s16(vmovn_s32(x.q[2]), vmovn_s32(x.q[3]));
    vst1q_s8(static_cast<int8_t*>(p), vcombine_s8(vmovn_s16(lo), vmovn_s16(hi)));
}
static inline int32_t sum_i(I x) {
    return vaddvq_s32(vaddq_s32(vaddq_s32(x.q[0], x.q[1]), vaddq_s32(x.q[2], x.q[3])));
}

// Codes are at most 127, so signed products serve both.
#if defined(GM_DOTPROD)
static inline I dot_ss(I acc, I w, I a) { GM_I(vdotq_s32(acc.q[i], GM_S8(w.q[i]), GM_S8(a.q[i]))); }
#else
static inline int32x4_t dot_quarter(int32x4_t acc, int8x16_t w, int8x16_t a) {
    int32x4_t lo = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(a)));
    int32x4_t hi = vpaddlq_s16(vmull_s8(vget_high_s8(w), vget_high_s8(a)));
    return vaddq_s32(acc, vpaddq_s32(lo, hi));
}
static inline I dot_ss(I acc, I w, I a) { GM_I(dot_quarter(acc.q[i], GM_S8(w.q[i]), GM_S8(a.q[i]))); }
#endif
#if defined(GM_I8MM)
static inline I dot_us(I acc, I w, I a) { GM_I(vusdotq_s32(acc.q[i], GM_U8(w.q[i]), GM_S8(a.q[i]))); }
#else
static inline I dot_us(I acc, I w, I a) { return dot_ss(acc, w, a); }
#endif

// -- float32 --
static inline F load_f(const float* p) { GM_F(vld1q_f32(p + 4 * i)); }
static inline void store_f(float* p, F x) {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.q[i]);
}
static inline F load_part(const float* p, int n) {
    float lanes[16] = {};
    __builtin_memcpy(lanes, p, static_cast<size_t>(n) * 4);
    return load_f(lanes);
}
static inline void store_part(float* p, F x, int n) {
    float lanes[16];
    store_f(lanes, x);
    __builtin_memcpy(p, lanes, static_cast<size_t>(n) * 4);
}
static inline F set_f(float x) { GM_F(vdupq_n_f32(x)); }
static inline F to_f(I x) { GM_F(vcvtq_f32_s32(x.q[i])); }
static inline I round_i(F x) { GM_I(vcvtnq_s32_f32(x.q[i])); }
static inline I trunc_i(F x) { GM_I(vcvtq_s32_f32(x.q[i])); }
static inline F as_f(I x) { GM_F(vreinterpretq_f32_s32(x.q[i])); }
static inline I as_i(F x) { GM_I(vreinterpretq_s32_f32(x.q[i])); }
static inline F add(F x, F y) { GM_F(vaddq_f32(x.q[i], y.q[i])); }
static inline F sub(F x, F y) { GM_F(vsubq_f32(x.q[i], y.q[i])); }
static inline F mul(F x, F y) { GM_F(vmulq_f32(x.q[i], y.q[i])); }
static inline F div(F x, F y) { GM_F(vdivq_f32(x.q[i], y.q[i])); }
static inline F fma(F x, F y, F z) { GM_F(vfmaq_f32(z.q[i], x.q[i], y.q[i])); }
static inline float32x4_t max_quarter(float32x4_t x, float32x4_t y) {   // y where either is NaN, as vmaxq is not
    return vbslq_f32(vcgtq_f32(x, y), x, y);
}
static inline F max(F x, F y) { GM_F(max_quarter(x.q[i], y.q[i])); }
static inline F min(F x, F y) { GM_F(vbslq_f32(vcltq_f32(x.q[i], y.q[i]), x.q[i], y.q[i])); }
static inline F pick(F x, F y, F a, F b) { GM_F(vbslq_f32(vcgtq_f32(x.q[i], y.q[i]), a.q[i], b.q[i])); }
static inline I pick(F x, F y, I a, I b) { GM_I(vbslq_s32(vcgtq_f32(x.q[i], y.q[i]), a.q[i], b.q[i])); }
static inline F sqrt_f(F x) { GM_F(vsqrtq_f32(x.q[i])); }
static inline F abs(F x) { GM_F(vabsq_f32(x.q[i])); }
static inline F zero_below(F x, float limit, F y) {
    GM_F(vbslq_f32(vcltq_f32(x.q[i], vdupq_n_f32(limit)), vdupq_n_f32(0.0f), y.q[i]));
}
static inline F keep(F x, int first, int last, float fill) {
    float lanes[16];
    store_f(lanes, x);
    for (int i = 0; i < 16; ++i)
        if (i < first || i >= last) lanes[i] = fill;
    return load_f(lanes);
}
static inline float lane0(F x) { return vgetq_lane_f32(x.q[0], 0); }
// Lanes are folded in halves: i with i + 8, then + 4, + 2, + 1.
static inline float sum_f(F x) {
    float32x4_t a = vaddq_f32(vaddq_f32(x.q[0], x.q[2]), vaddq_f32(x.q[1], x.q[3]));
    float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}
static inline float max_f(F x) {
    float32x4_t a = max_quarter(max_quarter(x.q[0], x.q[2]), max_quarter(x.q[1], x.q[3]));
    a = max_quarter(a, vextq_f32(a, a, 2));
    return vgetq_lane_f32(max_quarter(a, vextq_f32(a, a, 1)), 0);
}

// -- 16-bit floats --
static inline float16x4_t four_halves(const void* p, int i) {
    return vreinterpret_f16_u8(vld1_u8(bytes_at(p, 8 * i)));
}
static inline float f16_at(const void* p) {
    uint16_t bits;
    __builtin_memcpy(&bits, p, 2);
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0);
}
static inline F load_f16(const void* p) { GM_F(vcvt_f32_f16(four_halves(p, i))); }
static inline F load_bf16(const void* p) {
    GM_F(vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(bytes_at(p, 8 * i))), 16)));
}
static inline void store_f16(void* p, F x) {
    for (int i = 0; i < 4; ++i) vst1_u8(static_cast<uint8_t*>(p) + 8 * i, vreinterpret_u8_f16(vcvt_f16_f32(x.q[i])));
}
static inline uint16x4_t bf16_quarter(float32x4_t x) {      // to nearest even; NaN keeps a set bit
    uint32x4_t bits = vreinterpretq_u32_f32(x), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
    uint32x4_t nan = vorrq_u32(bits, vdupq_n_u32(64u << 16));
    return vshrn_n_u32(vbslq_u32(vceqq_f32(x, x), rounded, nan), 16);
}
static inline void store_bf16(void* p, F x) {
    for (int i = 0; i < 4; ++i) vst1_u8(static_cast<uint8_t*>(p) + 8 * i, vreinterpret_u8_u16(bf16_quarter(x.q[i])));
}
static inline F dot_bf16(F acc, I, I) { return acc; }

#undef GM_F
#undef GM_I

}}  // namespace gristmill::GM_LEVEL
