// Codecs of the formats whose codes look something up: levels, base-3 digits, grids. See codecs.h.
#pragma once
#include "../tables.h"

namespace gristmill { namespace GM_LEVEL {

constexpr uint8_t to_code(int level) { return static_cast<uint8_t>(kSignedOffset ^ (level & 255)); }    // as dot_ss wants it

alignas(16) constexpr uint8_t kNonLinear[16] = {        // kernels/formats/four_bit.py, LEVELS
    to_code(-127), to_code(-104), to_code(-83), to_code(-65), to_code(-49), to_code(-35), to_code(-22), to_code(-10),
    to_code(1), to_code(13), to_code(25), to_code(38), to_code(53), to_code(69), to_code(89), to_code(113),
};
alignas(16) constexpr uint8_t kE2M1[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};  // plus 12

template <int kFirstStep, class Put>
static GM_INLINE void put_levels(const uint8_t levels[16], const uint8_t* c, const Put& put) {
    unrolled<4>(GM_EACH(i) {
        I x = load_i(c + 64 * i);
        put_at<kFirstStep + i.value>(put, lookup_b(levels, field<0, 0, 15>(x)));
        put_at<kFirstStep + i.value + 4>(put, lookup_b(levels, field<4, 0, 15>(x)));
    });
}

struct IQ4_NL : Shape<32, 32, kSignedOffset, false, true>, OneScale {
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) { put_levels<0>(kNonLinear, c, put); }
};

struct IQ4_XS : Shape<256, 32, kSignedOffset, false, true>, SignedScales<8> {
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<8>(GM_EACH(g) { put_levels<8 * g.value>(kNonLinear, c + 256 * g, put); });
    }
};

struct MXFP4 : Shape<32, 32, 12> {                  // scales: bfloat16 powers of two
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) { put_levels<0>(kE2M1, c, put); }
    template <class Put> static GM_INLINE void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        put(Index<0>(), load_bf16(s), none());
    }
};

struct NVFP4 : Shape<64, 16, 12> {                  // two words for 16 elements: low halves are 0 to 7; scales: 4 float16
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<8>(GM_EACH(i) {
            constexpr int kStep = i.value / 2 * 4 + i.value % 2;
            I x = load_i(c + 64 * i);
            put_at<kStep>(put, lookup_b(kE2M1, field<0, 0, 15>(x)));
            put_at<kStep + 2>(put, lookup_b(kE2M1, field<4, 0, 15>(x)));
        });
    }
    template <class Put> static GM_INLINE void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        unrolled<4>(GM_EACH(g) { put(g, load_f16(s + 32 * g), none()); });
    }
};

struct SameScale {                                  // d for all 8 groups
    template <class Put> static GM_INLINE void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        F unit = load_f16(s);
        unrolled<8>(GM_EACH(g) { put(g, unit, none()); });
    }
};

struct TQ2_0 : Shape<256, 32, 1>, Quarters, SameScale {};

struct TQ1_0 : Shape<256, 32, 1>, SameScale {
    // A byte r is a fraction: a digit is what passes 256 in 3r, and 3r what is left.
    template <int kFirst, int kCount, int kStride, class Put> static GM_INLINE void digits(I r, const Put& put) {
        unrolled<kCount>(GM_EACH(i) {
            I one = min_b(subs_b(r, set_b(85)), set_b(1)), two = min_b(subs_b(r, set_b(170)), set_b(1));
            put_at<kFirst + i.value * kStride>(put, add_b(one, two));
            r = add_b(add_b(r, r), r);
        });
    }
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<8>(GM_EACH(w) { digits<w.value, 5, 8>(load_i(c + 64 * w), put); });
        unrolled<4>(GM_EACH(w) { digits<40 + w.value, 5, 4>(load_i(c + 64 * (8 + w)), put); });
        digits<60, 4, 1>(load_i(c + 64 * 12), put);
    }
};

// -- grids: an index names the values of 8 (or 4) elements. Gathering them is what takes the time, so loops stay loops --

template <int block, int group, int offset> struct GridShape : Shape<block, group, offset> {
    static constexpr bool kInRegisters = false;
};

// 0xFF in the bytes whose bit is set: bits is 0 to 15 in each lane, bit j for byte j.
static inline I byte_mask(I bits) {
    I spread = or_i(or_i(bits, shl_i<7>(bits)), or_i(shl_i<14>(bits), shl_i<21>(bits)));
    return sub_b(set_b(0), and_i(spread, set_b(1)));
}

// Bits (4 of each lane) as signs of the bytes of x, plus an offset that makes them positive.
static inline I apply_signs(I x, I bits, int offset) {
    I mask = byte_mask(and_i(bits, set_i(15)));
    return add_b(sub_b(xor_i(x, mask), mask), set_b(static_cast<uint8_t>(offset)));
}

// Seven sign bits stand for eight with even parity.
static inline I with_parity(I bits) {
    I seven = and_i(bits, set_i(127)), folded = xor_i(seven, shr_i<4>(seven));
    folded = xor_i(folded, shr_i<2>(folded));
    folded = and_i(xor_i(folded, shr_i<1>(folded)), set_i(1));
    return or_i(seven, shl_i<7>(folded));
}

static inline I byte_at(const uint8_t* c, int i) {     // byte i of each row, from words at c
    return and_i(shr_v(load_i(c + 64 * (i / 4)), i % 4 * 8), set_i(255));
}

static inline F half_steps(F unit, I sc) { return mul(unit, add(to_f(sc), set_f(0.5f))); }      // unit * (sc + 1/2)
static inline F odd_steps(F unit, I sc) { return mul(unit, to_f(add_i(set_i(1), add_i(sc, sc)))); }     // 2 sc + 1

template <class Put> static inline void put_eight(const uint32_t* grid, I index, I signs, int offset, int step, const Put& put) {
    I at = shl_i<1>(index);
    put(step, apply_signs(gather(grid, at), signs, offset));
    put(step + 1, apply_signs(gather(grid + 1, at), shr_i<4>(signs), offset));
}

struct IQ2_XXS : GridShape<256, 32, 43> {   // for 32 elements: a word of 4 indices, a word of 4 x 7 signs and the scale
    template <class Put> static inline void codes(const uint8_t* c, const Put& put) {
        for (int i = 0; i < 32; ++i) {
            I signs = shr_v(load_i(c + 128 * (i / 4) + 64), i % 4 * 7);
            put_eight(tables[kGridIQ2_XXS], byte_at(c + 128 * (i / 4), i % 4), with_parity(signs), kOffset, 2 * i, put);
        }
    }
    template <class Put> static inline void scales(const uint8_t* s, const uint8_t* c, const Put& put) {
        F unit = mul(load_f16(s), set_f(0.25f));
        for (int g = 0; g < 8; ++g) put(g, half_steps(unit, shr_i<28>(load_i(c + 128 * g + 64))), none());
    }
};

struct NibbleScales {                   // d, 8 bytes of two scales each
    template <class Put> static inline void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        F unit = mul(load_f16(s), set_f(0.25f));
        for (int g = 0; g < 16; ++g)
            put(g, half_steps(unit, and_i(shr_v(widen_u8(s + 32 + 16 * (g / 2)), g % 2 * 4), set_i(15))), none());
    }
};

struct IQ2_XS : GridShape<256, 16, 43>, NibbleScales {      // 16 bits for 8 elements: 9 of the index, 7 of the signs
    template <class Put> static inline void codes(const uint8_t* c, const Put& put) {
        for (int i = 0; i < 32; ++i) {
            I pair = shr_v(load_i(c + 64 * (i / 2)), i % 2 * 16);
            put_eight(tables[kGridIQ2_XS], and_i(pair, set_i(511)), with_parity(shr_i<9>(pair)), kOffset, 2 * i, put);
        }
    }
};

// 8 words of 4 low index bytes, 8 of 4 sign bytes, 2 of pairs of high index bits
struct IQ2_S : GridShape<256, 16, 43>, NibbleScales {
    template <class Put> static inline void codes(const uint8_t* c, const Put& put) {
        for (int i = 0; i < 32; ++i) {
            I high = and_i(shr_v(load_i(c + 1024 + 64 * (i / 16)), i % 16 * 2), set_i(3));
            I index = or_i(byte_at(c, i), shl_i<8>(high));
            put_eight(tables[kGridIQ2_S], index, byte_at(c + 512, i), kOffset, 2 * i, put);
        }
    }
};

struct IQ3_XXS : GridShape<256, 32, 62> {   // 16 words of 4 indices for 4 elements each, 8 words of 4 x 7 signs and the scale
    template <class Put> static inline void codes(const uint8_t* c, const Put& put) {
        for (int i = 0; i < 64; ++i) {
            I eight = with_parity(shr_v(load_i(c + 1024 + 64 * (i / 8)), i % 8 / 2 * 7));
            put(i, apply_signs(gather(tables[kGridIQ3_XXS], byte_at(c, i)), shr_v(eight, i % 2 * 4), kOffset));
        }
    }
    template <class Put> static inline void scales(const uint8_t* s, const uint8_t* c, const Put& put) {
        F unit = mul(load_f16(s), set_f(0.5f));
        for (int g = 0; g < 8; ++g) put(g, half_steps(unit, shr_i<28>(load_i(c + 1024 + 64 * g))), none());
    }
};

struct IQ3_S : GridShape<256, 32, 15> {     // 16 words of 4 low index bytes, 2 of ninth bits, 8 of signs; scales: d, 4 bytes
    template <class Put> static inline void codes(const uint8_t* c, const Put& put) {
        for (int i = 0; i < 64; ++i) {
            I ninth = and_i(shr_v(load_i(c + 1024 + 64 * (i / 32)), i % 32), set_i(1));
            I signs = shr_v(load_i(c + 1152 + 64 * (i / 8)), i % 8 * 4);
            put(i, apply_signs(gather(tables[kGridIQ3_S], or_i(byte_at(c, i), shl_i<8>(ninth))), signs, kOffset));
        }
    }
    template <class Put> static inline void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        F unit = load_f16(s);
        for (int g = 0; g < 8; ++g)
            put(g, odd_steps(unit, and_i(shr_v(widen_u8(s + 32 + 16 * (g / 2)), g % 2 * 4), set_i(15))), none());
    }
};

// The grid's bytes are 8 * value + 9 and scales an eighth of the format's, so that the delta of 1/8 is 1, up or down.
template <class Put> static inline void put_shifted(I index, I down, int step, const Put& put) {       // down: bit 0
    I bit = and_i(down, set_i(1)), twice = or_i(bit, shl_i<8>(bit)), all = or_i(twice, shl_i<16>(twice));
    I delta = sub_b(set_b(1), add_b(all, all)), at = shl_i<1>(index);
    put(step, add_b(gather(tables[kGridIQ1], at), delta));
    put(step + 1, add_b(gather(tables[kGridIQ1] + 1, at), delta));
}

// 8 words of 4 low index bytes, 4 words of two times 4 x 3 high bits, 3 of the scale, 1 of the delta
struct IQ1_S : GridShape<256, 32, 9> {
    template <class Put> static inline void codes(const uint8_t* c, const Put& put) {
        for (int i = 0; i < 32; ++i) {
            I half = shr_v(load_i(c + 512 + 64 * (i / 8)), i / 4 % 2 * 16);
            I high = and_i(shr_v(half, i % 4 * 3), set_i(7));
            put_shifted(or_i(byte_at(c, i), shl_i<8>(high)), shr_i<15>(half), 2 * i, put);
        }
    }
    template <class Put> static inline void scales(const uint8_t* s, const uint8_t* c, const Put& put) {
        F unit = mul(load_f16(s), set_f(0.125f));
        for (int g = 0; g < 8; ++g)
            put(g, odd_steps(unit, and_i(shr_v(load_i(c + 512 + 64 * (g / 2)), g % 2 * 16 + 12), set_i(7))), none());
    }
};

// 8 words of 4 low index bytes, 4 words of 8 nibbles: 3 high bits, 1 of the delta; scales: d, 4 x 16 bits of 4 x 3
struct IQ1_M : GridShape<256, 16, 9> {
    template <class Put> static inline void codes(const uint8_t* c, const Put& put) {
        for (int i = 0; i < 32; ++i) {
            I nibble = shr_v(load_i(c + 512 + 64 * (i / 8)), i % 8 * 4);
            put_shifted(or_i(byte_at(c, i), shl_i<8>(and_i(nibble, set_i(7)))), shr_i<3>(nibble), 2 * i, put);
        }
    }
    template <class Put> static inline void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        F unit = mul(load_f16(s), set_f(0.125f));
        for (int g = 0; g < 16; ++g) {
            I word = load_i(s + 32 + 64 * (g / 8));
            put(g, odd_steps(unit, and_i(shr_v(word, g / 4 % 2 * 16 + 3 * (g % 4)), set_i(7))), none());
        }
    }
};

}}  // namespace gristmill::GM_LEVEL
