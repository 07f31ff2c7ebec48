// From packed blocks (layouts.h) to codes that the dot products take, for the formats of whole numbers.
//
// A codec walks one block of 16 rows:
//   codes(codes, put)             put(step, x): x holds elements 4 step to 4 step + 3 of the 16 rows
//   scales(scales, codes, put)    put(group, d, m) in the order of the groups: float32 of the 16 rows
// so that an element is d * (code - kOffset), plus m where kMin. Codes are at most 127, or signed where kSigned
// (then with kSignedOffset added). Where kInRegisters, steps and groups are compile-time indices, so that what put does
// with them needs no memory. Which byte holds which element follows ggml-common.h; see kernels/formats.
#pragma once
#include <utility>

namespace gristmill { namespace GM_LEVEL {

#define GM_INLINE __attribute__((always_inline)) inline

template <int n> struct Index {
    static constexpr int value = n;
    constexpr operator int() const { return n; }
};

template <int... is, class Fn> static GM_INLINE void unrolled_over(std::integer_sequence<int, is...>, const Fn& fn) {
    (fn(Index<is>()), ...);
}

// fn(Index<0>) to fn(Index<n - 1>)
template <int n, class Fn> static GM_INLINE void unrolled(const Fn& fn) {
    unrolled_over(std::make_integer_sequence<int, n>(), fn);
}
#define GM_EACH(i) [&](auto i) __attribute__((always_inline))

// `kMask` bits of each byte, from bit kFrom moved to bit kTo.
template <int kFrom, int kTo, int kMask> static GM_INLINE I field(I x) {
    if constexpr (kFrom > kTo) x = shr_i<kFrom - kTo>(x);
    if constexpr (kFrom < kTo) x = shl_i<kTo - kFrom>(x);
    return and_i(x, set_b(static_cast<uint8_t>(kMask << kTo)));
}

template <int kStep, class Put> static GM_INLINE void put_at(const Put& put, I x) { put(Index<kStep>(), x); }

static GM_INLINE F none() { return set_f(0.0f); }

// What codecs share: elements of a block and of a group, and the sign of their codes.
template <int block, int group, int offset, bool min = false, bool is_signed = false> struct Shape {
    static constexpr int kBlock = block, kGroup = group, kOffset = offset;
    static constexpr bool kMin = min, kSigned = is_signed;
    static constexpr bool kInRegisters = true, kAsStored = false;   // kAsStored: packed codes are what the products take
};

struct OneScale {                   // d for the whole block of 32
    template <class Put> static GM_INLINE void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        put(Index<0>(), load_f16(s), none());
    }
};

struct ScaleAndMin {                // d, m
    template <class Put> static GM_INLINE void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        put(Index<0>(), load_f16(s), load_f16(s + 32));
    }
};

// 4-bit codes of 32 elements in 4 words: low halves are elements 0 to 15, high halves the rest.
struct Nibbles {
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<4>(GM_EACH(i) {
            I x = load_i(c + 64 * i);
            put_at<i.value>(put, field<0, 0, 15>(x));
            put_at<i.value + 4>(put, field<4, 0, 15>(x));
        });
    }
};

// The same with a plane after them: bit s of its bytes is the fifth bit of step s.
struct FiveBits {
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        I plane = load_i(c + 256);
        unrolled<4>(GM_EACH(i) {
            I x = load_i(c + 64 * i);
            put_at<i.value>(put, or_i(field<0, 0, 15>(x), field<i.value, 4, 1>(plane)));
            put_at<i.value + 4>(put, or_i(field<4, 0, 15>(x), field<i.value + 4, 4, 1>(plane)));
        });
    }
};

struct Q4_0 : Shape<32, 32, 8>, Nibbles, OneScale {};
struct Q4_1 : Shape<32, 32, 0, true>, Nibbles, ScaleAndMin {};
struct Q5_0 : Shape<32, 32, 16>, FiveBits, OneScale {};
struct Q5_1 : Shape<32, 32, 0, true>, FiveBits, ScaleAndMin {};

struct Q8_0 : Shape<32, 32, kSignedOffset, false, true>, OneScale {     // packed with kSignedOffset added
    static constexpr bool kAsStored = true;
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<8>(GM_EACH(i) { put(i, load_i(c + 64 * i)); });
    }
};

// 2-bit codes of 256 elements in 16 words: field s of word w in half h is step 32h + 8s + w.
struct Quarters {
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<16>(GM_EACH(i) {
            constexpr int kStep = i.value / 8 * 32 + i.value % 8;
            I x = load_i(c + 64 * i);
            put_at<kStep>(put, field<0, 0, 3>(x));
            put_at<kStep + 8>(put, field<2, 0, 3>(x));
            put_at<kStep + 16>(put, field<4, 0, 3>(x));
            put_at<kStep + 24>(put, field<6, 0, 3>(x));
        });
    }
};

struct Q2_K : Shape<256, 16, 0, true>, Quarters {   // d, dmin, 16 bytes: the scale low, the minimum in the high half
    template <class Put> static GM_INLINE void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        F unit = load_f16(s), min_unit = mul(load_f16(s + 32), set_f(-1.0f));
        unrolled<16>(GM_EACH(g) {
            I packed = widen_u8(s + 64 + 16 * g);
            put(g, mul(unit, to_f(and_i(packed, set_i(15)))), mul(min_unit, to_f(shr_i<4>(packed))));
        });
    }
};

template <int n_groups> struct SignedScales {       // d, n_groups signed bytes
    template <class Put> static GM_INLINE void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        F unit = load_f16(s);
        unrolled<n_groups>(GM_EACH(g) { put(g, mul(unit, to_f(widen_i8(s + 32 + 16 * g))), none()); });
    }
};

struct Q3_K : Shape<256, 16, 4>, SignedScales<16> { // as Quarters, then 8 words whose bit b is the third bit of group b
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<16>(GM_EACH(i) {
            constexpr int kStep = i.value / 8 * 32 + i.value % 8, kBit = i.value / 8 * 4;
            I x = load_i(c + 64 * i), plane = load_i(c + 1024 + 64 * (i % 8));
            put_at<kStep>(put, or_i(field<0, 0, 3>(x), field<kBit, 2, 1>(plane)));
            put_at<kStep + 8>(put, or_i(field<2, 0, 3>(x), field<kBit + 1, 2, 1>(plane)));
            put_at<kStep + 16>(put, or_i(field<4, 0, 3>(x), field<kBit + 2, 2, 1>(plane)));
            put_at<kStep + 24>(put, or_i(field<6, 0, 3>(x), field<kBit + 3, 2, 1>(plane)));
        });
    }
};

struct KScales {                                    // d, dmin, 8 bytes of scales, 8 of minima
    template <class Put> static GM_INLINE void scales(const uint8_t* s, const uint8_t*, const Put& put) {
        F unit = load_f16(s), min_unit = mul(load_f16(s + 32), set_f(-1.0f));
        unrolled<8>(GM_EACH(g) {
            put(g, mul(unit, to_f(widen_u8(s + 64 + 16 * g))), mul(min_unit, to_f(widen_u8(s + 192 + 16 * g))));
        });
    }
};

struct Q4_K : Shape<256, 32, 0, true>, KScales {    // 8 words hold two groups: the low halves, then the high halves
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<32>(GM_EACH(i) {
            constexpr int kStep = i.value / 8 * 16 + i.value % 8;
            I x = load_i(c + 64 * i);
            put_at<kStep>(put, field<0, 0, 15>(x));
            put_at<kStep + 8>(put, field<4, 0, 15>(x));
        });
    }
};

struct Q5_K : Shape<256, 32, 0, true>, KScales {    // as Q4_K, then 8 words whose bit g is the fifth bit of group g
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<32>(GM_EACH(i) {
            constexpr int kStep = i.value / 8 * 16 + i.value % 8, kGroupAt = i.value / 8 * 2;
            I x = load_i(c + 64 * i), plane = load_i(c + 2048 + 64 * (i % 8));
            put_at<kStep>(put, or_i(field<0, 0, 15>(x), field<kGroupAt, 4, 1>(plane)));
            put_at<kStep + 8>(put, or_i(field<4, 0, 15>(x), field<kGroupAt + 1, 4, 1>(plane)));
        });
    }
};

struct Q6_K : Shape<256, 16, 32>, SignedScales<16> {    // two halves of 16 words of nibbles, then two of 8 of bit pairs
    template <class Put> static GM_INLINE void codes(const uint8_t* c, const Put& put) {
        unrolled<16>(GM_EACH(i) {
            constexpr int kHalf = i.value / 8, kWord = i.value % 8, kStep = 32 * kHalf + kWord;
            I first = load_i(c + 64 * (16 * kHalf + kWord)), second = load_i(c + 64 * (16 * kHalf + 8 + kWord));
            I high = load_i(c + 2048 + 64 * i);
            put_at<kStep>(put, or_i(field<0, 0, 15>(first), field<0, 4, 3>(high)));
            put_at<kStep + 8>(put, or_i(field<0, 0, 15>(second), field<2, 4, 3>(high)));
            put_at<kStep + 16>(put, or_i(field<4, 0, 15>(first), field<4, 4, 3>(high)));
            put_at<kStep + 24>(put, or_i(field<4, 0, 15>(second), field<6, 4, 3>(high)));
        });
    }
};

}}  // namespace gristmill::GM_LEVEL
