// The dot products: tiles of tokens against a panel of 16 rows.
//
// Each output is a sum over blocks of 32 elements in their order, whatever the width of its tile, so a row's result
// does not depend on what else is in the batch. Whole numbers are summed exactly within a block (or half of one).
#pragma once

namespace gristmill { namespace GM_LEVEL {

constexpr int kPrefetch = 12288;    // bytes ahead: at 4096 a core reads a fifth less, past 16384 lines are lost again
constexpr int kSlab = 512;          // elements that are unpacked at once: 8 KiB of codes stay in the first cache

struct Unpacked {
    const uint8_t* codes;           // buffer, or the packed codes themselves
    uint8_t buffer[kSlab * 16];
    float d[kSlab];                 // (groups of 16 or 32, 16 rows)
    float m[kSlab];
};

struct Slab {                       // some blocks of what is unpacked
    const uint8_t* codes;
    const float *d, *m;
    Slab(const Unpacked& w, int block, int group)
        : codes(w.codes + 512 * block), d(w.d + 512 / group * block), m(w.m + 512 / group * block) {}
};

// Weights are read once and in order, so what comes is known: the processor's own prefetching does not keep up, since
// codes and scales are two streams.
static GM_INLINE void prefetch(const uint8_t* ahead, int n_bytes) {
    for (int i = 0; i < n_bytes; i += 64) __builtin_prefetch(ahead + i);
}

template <bool kSigned> static GM_INLINE I dot(I acc, I w, const int8_t* a) {
    int32_t four;
    __builtin_memcpy(&four, a, 4);
    return kSigned ? dot_ss(acc, w, set_i(four)) : dot_us(acc, w, set_i(four));
}

// acc (kT, 16) += codes times kT activations, over n_blocks of 32.
template <int kT, int kGroup, bool kMin, bool kSigned, bool kShifted>
static void dot_tile(Slab w, int n_blocks, int offset, const ActBlock* a, float* acc) {
    constexpr int kHalves = 32 / kGroup, kSteps = kGroup / 4;
    constexpr int kChains = kT <= 4 ? 2 : 1;                   // of whole numbers: enough to hide the dot's latency
    F sum[kT];
    for (int t = 0; t < kT; ++t) sum[t] = load_f(acc + 16 * t);
    const uint8_t* codes = w.codes;
    for (int b = 0; b < n_blocks; ++b, a += kT) {
        for (int h = 0; h < kHalves; ++h) {
            I dots[kT][kChains];
            for (int t = 0; t < kT; ++t) {
                for (int c = 0; c < kChains; ++c) dots[t][c] = set_i(0);
                if (kShifted) dots[t][0] = set_i(-offset * (kHalves == 2 ? a[t].sum[h] : a[t].sum[0] + a[t].sum[1]));
            }
#pragma GCC unroll 8
            for (int s = 0; s < kSteps; ++s, codes += 64) {
                I four = load_i(codes);
#pragma GCC unroll 12
                for (int t = 0; t < kT; ++t)
                    dots[t][s % kChains] = dot<kSigned>(dots[t][s % kChains], four, a[t].q + kGroup * h + 4 * s);
            }
            for (int t = 0; t < kT; ++t)
                for (int c = kChains / 2; c; c /= 2)
                    for (int i = 0; i < c; ++i) dots[t][i] = add_i(dots[t][i], dots[t][i + c]);
            F d = load_f(w.d + 16 * (b * kHalves + h));
            for (int t = 0; t < kT; ++t) sum[t] = fma(to_f(dots[t][0]), mul(d, set_f(a[t].d)), sum[t]);
            if (kMin) {
                F m = load_f(w.m + 16 * (b * kHalves + h));
                for (int t = 0; t < kT; ++t) {
                    float total = kHalves == 2 ? a[t].d * static_cast<float>(a[t].sum[h]) : a[t].total;
                    sum[t] = fma(m, set_f(total), sum[t]);
                }
            }
        }
    }
    for (int t = 0; t < kT; ++t) store_f(acc + 16 * t, sum[t]);
}

// The same for one token, whose codes go from the packed block straight into the products: acc (16).
template <class C, int kKind>
static void dot_row(const uint8_t* codes, const uint8_t* scales, int n_blocks, const ActBlock* a, float* acc) {
    constexpr int kGroups = C::kBlock / C::kGroup, kPer32 = 32 / C::kGroup;
    constexpr int kCodeBytes = kLayouts[kKind].code_bytes, kScaleBytes = kLayouts[kKind].scale_bytes;
    F sum = load_f(acc);
    for (int b = 0; b < n_blocks; ++b, codes += kCodeBytes, scales += kScaleBytes, a += C::kBlock / 32) {
        prefetch(codes + b * kScaleBytes + kPrefetch, kCodeBytes + kScaleBytes);   // scales lie after all codes
        I dots[kGroups];
        for (int g = 0; g < kGroups; ++g)
            dots[g] = set_i(-C::kOffset * (kPer32 == 2 ? a[g / 2].sum[g % 2] : a[g].sum[0] + a[g].sum[1]));
        C::codes(codes, [&](auto step, I four) __attribute__((always_inline)) {
            constexpr int kStep = decltype(step)::value, kAt = 4 * kStep / C::kGroup;
            dots[kAt] = dot<C::kSigned>(dots[kAt], four, a[kStep / 8].q + kStep % 8 * 4);
        });
        C::scales(scales, codes, [&](auto group, F d, F m) __attribute__((always_inline)) {
            const ActBlock& act = a[group / kPer32];
            sum = fma(to_f(dots[group]), mul(d, set_f(act.d)), sum);
            if constexpr (C::kMin) {
                float total = kPer32 == 2 ? act.d * static_cast<float>(act.sum[group % 2]) : act.total;
                sum = fma(m, set_f(total), sum);
            }
        });
    }
    store_f(acc, sum);
}

using DotFn = void (*)(Slab, int n_blocks, int offset, const ActBlock*, float* acc);

struct Codec {
    int block, group, offset;
    bool has_min, is_signed;
    void (*unpack)(const uint8_t* codes, const uint8_t* scales, int n_blocks, Unpacked& out);
    void (*dot_row)(const uint8_t* codes, const uint8_t* scales, int n_blocks, const ActBlock*, float* acc);   // or null
    DotFn dot_mid, dot_big, dot_one;
    DotFn dot_for(int width) const { return width == kBigTile ? dot_big : width == 1 ? dot_one : dot_mid; }
};

template <class C, int kKind>
static void unpack_slab(const uint8_t* codes, const uint8_t* scales, int n_blocks, Unpacked& out) {
    constexpr int kGroups = C::kBlock / C::kGroup;
    constexpr int kCodeBytes = kLayouts[kKind].code_bytes, kScaleBytes = kLayouts[kKind].scale_bytes;
    out.codes = C::kAsStored ? codes : out.buffer;
    uint8_t* to = out.buffer;
    float *d = out.d, *m = out.m;
    for (int b = 0; b < n_blocks; ++b, codes += kCodeBytes, scales += kScaleBytes) {
        if constexpr (!C::kAsStored)
            C::codes(codes, [&](auto step, I four) __attribute__((always_inline)) { store_i(to + 64 * step, four); });
        C::scales(scales, codes, [&](auto group, F unit, F minimum) __attribute__((always_inline)) {
            store_f(d + 16 * group, unit);
            if constexpr (C::kMin) store_f(m + 16 * group, minimum);
        });
        to += C::kBlock * 16, d += kGroups * 16, m += kGroups * 16;
    }
}

template <class C, int kKind> constexpr auto row_fn() -> decltype(Codec::dot_row) {
    if constexpr (C::kInRegisters && kFused) return dot_row<C, kKind>;
    else return nullptr;
}

template <class C, int kKind> constexpr Codec codec() {
    return {C::kBlock, C::kGroup, C::kOffset, C::kMin, C::kSigned, unpack_slab<C, kKind>, row_fn<C, kKind>(),
            dot_tile<kMidTile, C::kGroup, C::kMin, C::kSigned, C::kOffset != 0>,
            dot_tile<kBigTile, C::kGroup, C::kMin, C::kSigned, C::kOffset != 0>,
            dot_tile<1, C::kGroup, C::kMin, C::kSigned, C::kOffset != 0>};
}

constexpr Codec kCodecs[kNumKinds] = {
    {}, {}, {},
    codec<Q4_0, kQ4_0>(), codec<Q4_1, kQ4_1>(), codec<Q5_0, kQ5_0>(), codec<Q5_1, kQ5_1>(), codec<Q8_0, kQ8_0>(),
    codec<Q2_K, kQ2_K>(), codec<Q3_K, kQ3_K>(), codec<Q4_K, kQ4_K>(), codec<Q5_K, kQ5_K>(), codec<Q6_K, kQ6_K>(),
    codec<IQ4_NL, kIQ4_NL>(), codec<IQ4_XS, kIQ4_XS>(), codec<MXFP4, kMXFP4>(), codec<NVFP4, kNVFP4>(),
    codec<TQ1_0, kTQ1_0>(), codec<TQ2_0, kTQ2_0>(),
    codec<IQ2_XXS, kIQ2_XXS>(), codec<IQ2_XS, kIQ2_XS>(), codec<IQ2_S, kIQ2_S>(),
    codec<IQ3_XXS, kIQ3_XXS>(), codec<IQ3_S, kIQ3_S>(), codec<IQ1_S, kIQ1_S>(), codec<IQ1_M, kIQ1_M>(),
};

// -- float weights: even and odd elements are summed apart, so that one token has two chains of additions --

struct LoadF32 {
    static constexpr int kBytes = 64;
    static inline F load(const uint8_t* p) { return load_f(reinterpret_cast<const float*>(p)); }
};
struct LoadF16 {
    static constexpr int kBytes = 32;
    static inline F load(const uint8_t* p) { return load_f16(p); }
};

template <int kT, class W> static void float_tile(const uint8_t* w, int cols, const float* a, float* acc) {
    F even[kT], odd[kT];
    for (int t = 0; t < kT; ++t) even[t] = odd[t] = set_f(0.0f);
    int k = 0;
    for (; k + 2 <= cols; k += 2, w += 2 * W::kBytes, a += 2 * kT) {
        F first = W::load(w), second = W::load(w + W::kBytes);
        for (int t = 0; t < kT; ++t) even[t] = fma(first, set_f(a[t]), even[t]);
        for (int t = 0; t < kT; ++t) odd[t] = fma(second, set_f(a[kT + t]), odd[t]);
    }
    if (k < cols)
        for (int t = 0; t < kT; ++t) even[t] = fma(W::load(w), set_f(a[t]), even[t]);
    for (int t = 0; t < kT; ++t) store_f(acc + 16 * t, add(even[t], odd[t]));
}

template <int kT> static void bf16_tile(const uint8_t* w, int cols, const float* a, float* acc) {
    F even[kT], odd[kT];
    for (int t = 0; t < kT; ++t) even[t] = odd[t] = set_f(0.0f);
    for (int k = 0; k < cols; k += 2, w += 64, a += 2 * kT) {
        I pair = load_i(w);
        F first = as_f(shl_i<16>(pair)), second = as_f(and_i(pair, set_i(static_cast<int32_t>(0xFFFF0000))));
        for (int t = 0; t < kT; ++t) even[t] = fma(first, set_f(a[t]), even[t]);
        if (k + 1 < cols)
            for (int t = 0; t < kT; ++t) odd[t] = fma(second, set_f(a[kT + t]), odd[t]);
    }
    for (int t = 0; t < kT; ++t) store_f(acc + 16 * t, add(even[t], odd[t]));
}

template <int kT> static void bf16_dot_tile(const uint8_t* w, int cols, const uint32_t* a, float* acc) {
    F sum[kT];
    for (int t = 0; t < kT; ++t) sum[t] = set_f(0.0f);
    for (int k = 0; k < cols; k += 2, w += 64, a += kT) {
        I pair = load_i(w);
        for (int t = 0; t < kT; ++t) sum[t] = dot_bf16(sum[t], pair, set_i(static_cast<int32_t>(a[t])));
    }
    for (int t = 0; t < kT; ++t) store_f(acc + 16 * t, sum[t]);
}

template <int kT> static void float_dots(int kind, const uint8_t* w, const Acts& acts, int before, float* acc) {
    const float* a = acts.f32 + static_cast<size_t>(before) * acts.cols;
    if (kind == kKindF32) return float_tile<kT, LoadF32>(w, acts.cols, a, acc);
    if (kind == kKindF16) return float_tile<kT, LoadF16>(w, acts.cols, a, acc);
    if (!kHasBf16Dot) return bf16_tile<kT>(w, acts.cols, a, acc);
    bf16_dot_tile<kT>(w, acts.cols, acts.bf16 + static_cast<size_t>(before) * ((acts.cols + 1) / 2), acc);
}

// acc (rows of the tiles, 16) = tiles [first, last) of the prepared rows times one panel.
static void multiply_panel(int kind, const uint8_t* panel, const Acts& acts, const Tiles& tiles, int first, int last,
                           Unpacked& w, float* acc) {
    const int base = tiles.first_row(first);
    if (is_float_kind(kind)) {
        for (int i = first; i < last; ++i) {
            int before = tiles.first_row(i), width = tiles.width(i);
            float* out = acc + 16 * (before - base);
            if (width == kBigTile) float_dots<kBigTile>(kind, panel, acts, before, out);
            else if (width == 1) float_dots<1>(kind, panel, acts, before, out);
            else float_dots<kMidTile>(kind, panel, acts, before, out);
        }
        return;
    }
    const Codec& codec = kCodecs[kind];
    const Layout& layout = kLayouts[kind];
    const uint8_t* scales = panel + static_cast<int64_t>(acts.cols / layout.block) * layout.code_bytes;
    for (int i = 0; i < 16 * (tiles.first_row(last) - base); i += 16) store_f(acc + i, set_f(0.0f));
    if (tiles.padded() == 1 && codec.dot_row) return codec.dot_row(panel, scales, acts.cols / layout.block, acts.int8, acc);
    for (int k = 0; k < acts.cols; k += kSlab) {
        int n = acts.cols - k < kSlab ? acts.cols - k : kSlab, block = k / layout.block;
        codec.unpack(panel + static_cast<int64_t>(block) * layout.code_bytes,
                     scales + static_cast<int64_t>(block) * layout.scale_bytes, n / layout.block, w);
        const int n_32 = n / 32, bytes = (layout.code_bytes + layout.scale_bytes) * 32 / layout.block;
        const uint8_t* ahead = panel + static_cast<int64_t>(k / 32) * bytes + kPrefetch;
        for (int i = first; i < last; ++i) {
            int before = tiles.first_row(i), width = tiles.width(i);
            const ActBlock* a = acts.int8 + static_cast<int64_t>(before) * (acts.cols / 32) + k / 32 * width;
            // The first tile goes in pieces and fetches what comes meanwhile; the others find it there.
            const int piece = i == first ? 4 : n_32;
            for (int b = 0; b < n_32; b += piece) {
                const int count = n_32 - b < piece ? n_32 - b : piece;
                if (i == first) prefetch(ahead + b * bytes, count * bytes);
                codec.dot_for(width)(Slab(w, b, codec.group), count, codec.offset, a + b * width, acc + 16 * (before - base));
            }
        }
    }
}

}}  // namespace gristmill::GM_LEVEL
