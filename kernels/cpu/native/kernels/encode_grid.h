// The search of the IQ formats' grids: what kernels/formats/grid_search.py says, on vectors.
//
// The whole grid is searched for two groups of elements at a time, in chunks whose worths stay in the first cache. A
// lane is one sampled scale (with a delta: 8 scales, up and then down), so the best entry of each scale is found
// without a step across lanes.
#pragma once
#include "../tables.h"

namespace gristmill { namespace GM_LEVEL {

constexpr int kOctets = 32, kChunk = 256, kLines = 16;

// How a format uses a grid: x = d * kUnit * (2 sc + 1) * (g +- delta) * sign. Entries have kSize elements; kShared
// octets share sc. kEven: an even number of minus signs in an octet. Without delta (1/8), entries are magnitudes.
template <Table table, int entries, int size, int shared, int scales, bool even, bool delta = false, bool shares_delta = false>
struct Coding {
    static constexpr Table kTable = table;
    static constexpr int kEntries = entries, kSize = size, kParts = 8 / size, kShared = shared, kScales = scales;
    static constexpr int kSubs = kOctets / shared, kSamples = delta ? kLines / 2 : kLines;
    static constexpr bool kEven = even, kDelta = delta, kSharesDelta = shares_delta;
    static constexpr float kFirst = delta ? 0.3f : 0.4f, kRatio = delta ? 1.29f : 1.1055f;
};

struct GridCodes {
    float d;
    int scale[16], index[64], signs[kOctets], is_down[kOctets];
};

struct Worth {                  // of kChunk entries for one group: a, b, sums of w g, and a with one element turned
    alignas(64) float a[kChunk], b[kChunk], c[kChunk], turned[kChunk];
};

struct Best {                   // of each lane
    F gain;
    I at;
};

struct Weighed {                // a block: weights, and weights times elements or their magnitudes
    alignas(64) float w[kBlock], wx[kBlock];
    float top[kOctets];         // largest magnitude
    bool is_odd[kOctets];
    int minus[kOctets];         // bits
};

struct Lines {                  // gain of scale s: 2 s a - s^2 b
    alignas(64) float a[kOctets][kLines], b[kOctets][kLines];
    int32_t at[kOctets][2][kLines];
};

template <class C> static void weigh_block(const float* x, const float* importance, Weighed& out) {
    Sub<1> subs[16];
    load_block<1, kBlock>(x, importance, subs);
    for (int i = 0; i < 16; ++i) {
        store_f(out.w + 16 * i, subs[i].w[0]);
        store_f(out.wx + 16 * i, mul(subs[i].w[0], C::kDelta ? subs[i].x[0] : abs(subs[i].x[0])));
    }
    for (int k = 0; k < kOctets; ++k) {
        out.minus[k] = 0, out.top[k] = 0.0f;
        for (int j = 0; j < 8; ++j) {
            const float v = x[8 * k + j], size = __builtin_fabsf(v);
            out.minus[k] |= (v < 0.0f) << j;
            out.top[k] = size > out.top[k] ? size : out.top[k];
        }
        out.is_odd[k] = C::kEven && __builtin_parity(static_cast<unsigned>(out.minus[k]));
    }
}

template <class C> static void weigh_entries(int first, const float* const wx[2], const float* const w[2], Worth* out) {
    const int8_t* column = columns[C::kTable] + first;
    for (int e = 0; e < kChunk; e += 16) {
        F a[2], b[2], c[2], least[2];
        for (int q = 0; q < 2; ++q) a[q] = b[q] = c[q] = set_f(0.0f), least[q] = set_f(3e38f);
        for (int j = 0; j < C::kSize; ++j) {
            const F g = to_f(widen_i8(column + j * C::kEntries + e));
            for (int q = 0; q < 2; ++q) {
                const F p = mul(set_f(wx[q][j]), g), v = mul(set_f(w[q][j]), g);
                a[q] = add(a[q], p), b[q] = fma(v, g, b[q]);
                if (C::kDelta) c[q] = add(c[q], v);
                if (C::kEven) least[q] = min(p, least[q]);
            }
        }
        for (int q = 0; q < 2; ++q) {
            store_f(out[q].a + e, a[q]), store_f(out[q].b + e, b[q]);
            if (C::kDelta) store_f(out[q].c + e, c[q]);
            if (C::kEven) store_f(out[q].turned + e, sub(a[q], add(least[q], least[q])));
        }
    }
}

// Entries from `first` on, each against the best so far. half: -s / 2 of each lane; shift: -s times the lane's delta.
template <class C> static void better_entries(const float* a0, const float* a1, const Worth* worth, int first, F half,
                                              F shift, Best* best) {
    const float* const a[2] = {a0, a1};
    Best found[2] = {best[0], best[1]};
    I at = set_i(first);
    for (int e = 0; e < kChunk; ++e, at = add_i(at, set_i(1)))
        for (int q = 0; q < 2; ++q) {
            F gain = fma(set_f(worth[q].b[e]), half, set_f(a[q][e]));
            if (C::kDelta) gain = fma(set_f(worth[q].c[e]), shift, gain);
            found[q].at = pick(gain, found[q].gain, at, found[q].at);
            found[q].gain = max(gain, found[q].gain);
        }
    best[0] = found[0], best[1] = found[1];
}

// The best entries of two groups for all lanes: of two octets, or of the two halves of one.
template <class C> static void best_entries(const float* const wx[2], const float* const w[2], const bool is_odd[2], F half,
                                            F shift, I* at) {
    Worth worth[2];
    const Best none = {set_f(-3e38f), set_i(0)};
    Best best[2] = {none, none}, turned[2] = {none, none};
    const bool halves = C::kSize == 4 && is_odd[0];
    for (int first = 0; first < C::kEntries; first += kChunk) {
        weigh_entries<C>(first, wx, w, worth);
        const float* a0 = C::kSize == 8 && is_odd[0] ? worth[0].turned : worth[0].a;
        const float* a1 = C::kSize == 8 && is_odd[1] ? worth[1].turned : worth[1].a;
        better_entries<C>(a0, a1, worth, first, half, shift, best);
        if (halves) better_entries<C>(worth[0].turned, worth[1].turned, worth, first, half, shift, turned);
    }
    at[0] = best[0].at, at[1] = best[1].at;
    if (halves) {               // one element is turned, in the half where less is lost by it
        const F left = sub(turned[0].gain, best[0].gain), right = sub(turned[1].gain, best[1].gain);
        at[0] = pick(right, left, at[0], turned[0].at);
        at[1] = pick(right, left, turned[1].at, at[1]);
    }
}

// a and b of the entries `at` in all lanes, for one octet.
template <class C> static void put_lines(const float* wx, const float* w, bool is_odd, const I* at, F delta, float* a_out,
                                         float* b_out) {
    F a = set_f(0.0f), b = a, least = set_f(3e38f);
    for (int part = 0; part < 2; ++part) {
        const uint32_t* words = tables[C::kTable] + (C::kSize == 8 ? part : 0);
        const I four = gather(words, C::kSize == 8 ? shl_i<1>(at[0]) : at[part]);
        for (int j = 0; j < 4; ++j) {
            F g = to_f(and_i(shr_v(four, 8 * j), set_i(255)));
            if (C::kDelta) g = add(mul(sub(g, set_f(9.0f)), set_f(0.125f)), delta);
            const F p = mul(set_f(wx[4 * part + j]), g);
            a = add(a, p), b = fma(mul(set_f(w[4 * part + j]), g), g, b), least = min(p, least);
        }
    }
    store_f(a_out, is_odd ? sub(a, add(least, least)) : a);
    store_f(b_out, b);
}

static const float* lanes_of_delta() {
    alignas(64) static constexpr float kLanes[kLines] = {0.125f, 0.125f, 0.125f, 0.125f, 0.125f, 0.125f, 0.125f, 0.125f,
                                                         -0.125f, -0.125f, -0.125f, -0.125f, -0.125f, -0.125f, -0.125f, -0.125f};
    return kLanes;
}

// The lines of one sub-block, and the scales of their lanes.
template <class C> static void find_lines(const Weighed& block, int sub, float highest, Lines& lines, float* scales) {
    const int first = sub * C::kShared;
    float scale = 0.0f;
    for (int k = 0; k < C::kShared; ++k) scale = block.top[first + k] > scale ? block.top[first + k] : scale;
    scale = scale / highest * C::kFirst;
    for (int i = 0; i < kLines; ++i) {
        scales[i] = i < C::kSamples ? scale : scales[i - C::kSamples];
        scale *= C::kRatio;
    }
    const F s = load_f(scales), half = mul(s, set_f(-0.5f)), delta = C::kDelta ? load_f(lanes_of_delta()) : set_f(0.0f);
    for (int k = first; k < first + C::kShared; k += C::kSize / 4) {
        const int second = 8 * k + C::kSize;
        const float *wx[2] = {block.wx + 8 * k, block.wx + second}, *w[2] = {block.w + 8 * k, block.w + second};
        const bool is_odd[2] = {block.is_odd[k], block.is_odd[second / 8]};
        I at[2];
        best_entries<C>(wx, w, is_odd, half, mul(mul(s, set_f(-1.0f)), delta), at);
        for (int o = 0; o < C::kSize / 4; ++o) {
            put_lines<C>(block.wx + 8 * (k + o), block.w + 8 * (k + o), is_odd[o], at + o, delta, lines.a[k + o], lines.b[k + o]);
            for (int p = 0; p < C::kParts; ++p) store_i(lines.at[k + o][p], at[o + p]);
        }
    }
}

static F gains(const Lines& lines, int octet, F s) {
    const F a = load_f(lines.a[octet]);
    return mul(s, sub(add(a, a), mul(s, load_f(lines.b[octet]))));
}

// The gain of a sub-block with scale s. is_down: which half of the lanes, where octets share it.
template <class C> static float gain(const Lines& lines, int sub, float scale, bool* is_down) {
    constexpr float kLowest = -3e38f;
    float up = 0.0f, down = 0.0f;
    for (int k = sub * C::kShared; k < (sub + 1) * C::kShared; ++k) {
        const F v = gains(lines, k, set_f(scale));
        up += max_f(C::kSharesDelta ? keep(v, 0, C::kSamples, kLowest) : v);
        if (C::kSharesDelta) down += max_f(keep(v, C::kSamples, kLines, kLowest));
    }
    *is_down = C::kSharesDelta && down > up;
    return *is_down ? down : up;
}

// Which line each octet of a sub-block takes; sums of their a and b.
template <class C> static void take_lines(const Lines& lines, int sub, float scale, int* line, float* a, float* b) {
    bool is_down;
    gain<C>(lines, sub, scale, &is_down);
    const int from = is_down ? C::kSamples : 0, to = C::kSharesDelta && !is_down ? C::kSamples : kLines;
    *a = *b = 0.0f;
    for (int k = sub * C::kShared; k < (sub + 1) * C::kShared; ++k) {
        float room[kLines];
        store_f(room, gains(lines, k, set_f(scale)));
        line[k] = from;
        for (int i = from + 1; i < to; ++i) line[k] = room[i] > room[line[k]] ? i : line[k];
        *a += lines.a[k][line[k]], *b += lines.b[k][line[k]];
    }
}

// With the block's scale d, unit included: the gain, and the scale codes.
template <class C> static float multiples(const Lines& lines, const float* wanted, float d, int* codes) {
    float total = 0.0f;
    for (int j = 0; j < C::kSubs; ++j) {
        const int nearest = nearest_code(wanted[j] * inverse(d) - 1.0f, 0.5f, 0, C::kScales - 1);
        float best = 0.0f;
        codes[j] = -1;
        for (int code = nearest - 1; code <= nearest + 1; ++code) {
            bool is_down;
            if (code < 0 || code >= C::kScales) continue;
            const float found = gain<C>(lines, j, d * static_cast<float>(2 * code + 1), &is_down);
            if (codes[j] < 0 || found > best) best = found, codes[j] = code;
        }
        total += best;
    }
    return total;
}

// The block's scale: as stored, and codes and lines with it.
template <class C> static float block_scale(const Lines& lines, const float* wanted, float unit, int* codes, int* line) {
    float top = 0.0f, best = 0.0f, d = 0.0f, a, b, sum_a = 0.0f, sum_b = 0.0f;
    for (int j = 0; j < C::kSubs; ++j) top = wanted[j] > top ? wanted[j] : top;
    top /= static_cast<float>(2 * C::kScales - 1);
    for (int i = 0; i < 8; ++i) {
        const float trial = top * (0.96f + 0.04f * static_cast<float>(i)), found = multiples<C>(lines, wanted, trial, codes);
        if (i == 0 || found > best) best = found, d = trial;
    }
    multiples<C>(lines, wanted, d, codes);
    for (int j = 0; j < C::kSubs; ++j) {
        const float multiple = static_cast<float>(2 * codes[j] + 1);
        take_lines<C>(lines, j, d * multiple, line, &a, &b);
        sum_a += multiple * a, sum_b += multiple * multiple * b;
    }
    const float stored = through_half(sum_a * inverse(sum_b) / unit);
    d = stored * unit;
    multiples<C>(lines, wanted, d, codes);
    for (int j = 0; j < C::kSubs; ++j) take_lines<C>(lines, j, d * static_cast<float>(2 * codes[j] + 1), line, &a, &b);
    return stored;
}

// The element that loses least when its sign is turned.
template <class C> static int turned_element(const float* wx, const int* index) {
    const uint8_t* entries = reinterpret_cast<const uint8_t*>(tables[C::kTable]);
    float least = 0.0f;
    int best = -1;
    for (int j = 0; j < 8; ++j) {
        const float lost = wx[j] * static_cast<float>(entries[index[j / C::kSize] * C::kSize + j % C::kSize]);
        if (best < 0 || lost < least) least = lost, best = j;
    }
    return best;
}

// highest: of the grid's values, delta included; unit: of scales.
template <class C> static void grid_codes(const float* x, const float* importance, float highest, float unit, GridCodes& out) {
    Weighed block;
    Lines lines;
    float wanted[C::kSubs];
    int line[kOctets];
    weigh_block<C>(x, importance, block);
    for (int j = 0; j < C::kSubs; ++j) {
        float scales[kLines], best = 0.0f, a, b;
        find_lines<C>(block, j, highest, lines, scales);
        int at = 0;
        for (int i = 0; i < C::kSamples; ++i) {
            bool is_down;
            const float found = gain<C>(lines, j, scales[i], &is_down);
            if (i == 0 || found > best) best = found, at = i;
        }
        take_lines<C>(lines, j, scales[at], line, &a, &b);
        wanted[j] = a * inverse(b);
    }
    out.d = block_scale<C>(lines, wanted, unit, out.scale, line);
    for (int k = 0; k < kOctets; ++k) {
        int* index = out.index + C::kParts * k;
        for (int p = 0; p < C::kParts; ++p) index[p] = lines.at[k][p][line[k]];
        out.signs[k] = block.is_odd[k] ? block.minus[k] ^ 1 << turned_element<C>(block.wx + 8 * k, index) : block.minus[k];
        out.is_down[k] = C::kDelta && line[k] >= C::kSamples;
    }
}

}}  // namespace gristmill::GM_LEVEL
