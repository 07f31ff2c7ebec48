// The search of the IQ formats' grids: what kernels/formats/grid_search.py says, on vectors.
//
// A lane is one sampled scale (with a delta: 8 scales, up and then down), so the best entry of each scale is found
// without a step across lanes. The gain of an entry is the sum of those of its halves, of which there are few (81 or
// 64): they are computed first, and then an entry costs one addition and a comparison. Two groups of elements go
// through the grid side by side.
#pragma once
#include "../tables.h"

namespace gristmill { namespace GM_LEVEL {

constexpr int kOctets = 32, kLines = 16;

// How a format uses a grid: x = d * kUnit * (2 sc + 1) * (g +- delta) * sign. Entries have kSize elements; kShared
// octets share sc. kEven: an even number of minus signs in an octet. Without delta (1/8), entries are magnitudes.
template <Table table, int entries, int size, int shared, int scales, bool even, bool delta = false, bool shares_delta = false>
struct Coding {
    static constexpr Table kTable = table;
    static constexpr int kEntries = entries, kSize = size, kParts = 8 / size, kShared = shared, kScales = scales;
    static constexpr int kSubs = kOctets / shared, kSamples = delta ? kLines / 2 : kLines;
    static constexpr int kLevels = size == 8 ? 3 : 8, kHalf = size / 2, kHalves = size == 8 ? 81 : 64;
    static constexpr bool kEven = even, kDelta = delta, kSharesDelta = shares_delta;
    static constexpr float kFirst = delta ? 0.3f : 0.4f, kRatio = delta ? 1.29f : 1.1134f;
};

struct GridCodes {
    float d;
    int scale[16], index[64], signs[kOctets], is_down[kOctets];
};

template <class C> struct Halves {      // gains of all first or second halves of entries, and with one element turned
    alignas(64) float gain[C::kHalves][kLines], turned[C::kHalves][kLines];
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

// Gains by 2 s: w x g - s / 2 (w g^2). half: -s / 2 of each lane; shift: -s times the lane's delta.
template <class C> static void half_gains(const float* wx, const float* w, bool is_odd, F half, F shift, Halves<C>& out) {
    float least[C::kHalves] = {3e38f};
    store_f(out.gain[0], set_f(0.0f));
    for (int j = 0, n = 1; j < C::kHalf; ++j, n *= C::kLevels)
        for (int level = C::kLevels - 1; level >= 0; --level) {      // the lowest one last: it overwrites what the others add to
            const float g = grids[C::kTable].levels[level], p = wx[j] * g, wg = w[j] * g;
            F gain = fma(set_f(wg * g), half, set_f(p));
            if (C::kDelta) gain = fma(set_f(wg), shift, gain);
            for (int i = 0; i < n; ++i) {
                store_f(out.gain[level * n + i], add(load_f(out.gain[i]), gain));
                if (C::kEven) least[level * n + i] = p < least[i] ? p : least[i];
            }
        }
    if (is_odd)
        for (int i = 0; i < C::kHalves; ++i) store_f(out.turned[i], sub(load_f(out.gain[i]), set_f(2.0f * least[i])));
}

template <class C, bool kTurned> static GM_INLINE F entry_gain(const Halves<C>* halves, const uint8_t* entry) {
    const F first = load_f(halves[0].gain[entry[0]]), second = load_f(halves[1].gain[entry[1]]);
    if constexpr (!kTurned) return add(first, second);
    return max(add(load_f(halves[0].turned[entry[0]]), second), add(first, load_f(halves[1].turned[entry[1]])));
}

// The best entries of two groups of elements, in all lanes.
template <class C, bool kTurned0, bool kTurned1> static void search(const Halves<C> (*halves)[2], Best* best) {
    Best left = {set_f(-3e38f), set_i(0)}, right = left;
    I at = set_i(0);
    const uint8_t* entry = grids[C::kTable].halves;
    for (int e = 0; e < C::kEntries; ++e, entry += 2, at = add_i(at, set_i(1))) {
        const F a = entry_gain<C, kTurned0>(halves[0], entry), b = entry_gain<C, kTurned1>(halves[1], entry);
        left = {max(a, left.gain), pick(a, left.gain, at, left.at)};
        right = {max(b, right.gain), pick(b, right.gain, at, right.at)};
    }
    best[0] = left, best[1] = right;
}

// Of two octets, or of the two parts of one.
template <class C> static void best_entries(const float* const wx[2], const float* const w[2], const bool is_odd[2], F half,
                                            F shift, I* at) {
    Halves<C> halves[2][2];
    for (int q = 0; q < 2; ++q)
        for (int h = 0; h < 2; ++h)
            half_gains<C>(wx[q] + C::kHalf * h, w[q] + C::kHalf * h, is_odd[q], half, shift, halves[q][h]);
    Best best[2], turned[2];
    if (C::kSize == 8 && is_odd[0]) is_odd[1] ? search<C, true, true>(halves, best) : search<C, true, false>(halves, best);
    else if (C::kSize == 8 && is_odd[1]) search<C, false, true>(halves, best);
    else search<C, false, false>(halves, best);
    at[0] = best[0].at, at[1] = best[1].at;
    if (C::kSize == 4 && is_odd[0]) {               // one element is turned, in the part where less is lost by it
        search<C, true, true>(halves, turned);
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
template <class C> static void find_lines(const Weighed& block, int sub, Lines& lines, float* scales) {
    const int first = sub * C::kShared;
    float top = 0.0f, factor = C::kFirst / (grids[C::kTable].levels[C::kLevels - 1] + (C::kDelta ? 0.125f : 0.0f));
    for (int k = 0; k < C::kShared; ++k) top = block.top[first + k] > top ? block.top[first + k] : top;
    for (int i = 0; i < kLines; ++i, factor *= C::kRatio) scales[i] = i < C::kSamples ? top * factor : scales[i - C::kSamples];
    if (!C::kDelta) scales[kLines - 1] = top / grids[C::kTable].levels[0];      // for elements that are all of a size
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

template <class C> static void grid_codes(const float* x, const float* importance, float unit, GridCodes& out) {
    Weighed block;
    Lines lines;
    float wanted[C::kSubs];
    int line[kOctets];
    weigh_block<C>(x, importance, block);
    for (int j = 0; j < C::kSubs; ++j) {
        float scales[kLines], best = 0.0f, a, b;
        find_lines<C>(block, j, lines, scales);
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
