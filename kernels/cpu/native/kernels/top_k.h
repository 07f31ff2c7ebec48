// The highest of many numbers, without sorting them: what is not above the lowest kept so far is skipped 64 at a time.
#pragma once

namespace gristmill { namespace GM_LEVEL {

// NaN counts as highest, so that whoever samples sees it.
static inline bool above(float x, float y) { return y == y && !(x <= y); }

// Puts x among the n kept, highest first; of equal ones the first stays first.
static inline void insert(const TopKArgs& a, int n, float x, int64_t id) {
    int at = n < a.k ? n : a.k - 1;
    for (; at > 0 && above(x, a.values[at - 1]); --at) {
        a.values[at] = a.values[at - 1];
        a.ids[at] = a.ids[at - 1];
    }
    a.values[at] = x;
    a.ids[at] = id;
}

static inline bool any_above(const float* x, float limit) {     // among 64; ones that are equal may count
    F one = set_f(1.0f), found = zero_below(load_f(x), limit, one);
    for (int i = 16; i < 64; i += 16) found = add(found, zero_below(load_f(x + i), limit, one));
    return sum_f(found) > 0.0f;
}

static void top_k_of_all(const TopKArgs& a) {
    for (int i = 0; i < a.k; ++i) insert(a, i, a.x[i], i);
    int i = a.k;
    auto look = [&] {
        if (above(a.x[i], a.values[a.k - 1])) insert(a, a.k, a.x[i], i);
    };
    for (; i + 64 <= a.n;) {
        // Most of a row may be minus infinity, and equal to a lowest that is, too.
        const float lowest = a.values[a.k - 1];
        if (any_above(a.x + i, lowest < -__FLT_MAX__ ? -__FLT_MAX__ : lowest)) {
            for (int end = i + 64; i < end; ++i) look();
        } else {
            i += 64;
        }
    }
    for (; i < a.n; ++i) look();
}

// Which of the 32 numbers from `first` on are allowed and more than minus infinity.
static inline uint32_t candidates(const TopKArgs& a, int first) {
    uint32_t found = a.bits[first / 32];
    if (a.n - first < 32) found &= (1u << (a.n - first)) - 1;
    for (uint32_t rest = found; rest; rest &= rest - 1)
        if (a.x[first + __builtin_ctz(rest)] == -__builtin_inff()) found &= ~(rest & -rest);
    return found;
}

// A grammar often allows few: words of its mask that are zero cost nothing, and no masked copy is made.
static void top_k_of_allowed(const TopKArgs& a) {
    int kept = 0;
    for (int first = 0; first < a.n; first += 32) {
        if (!a.bits[first / 32]) continue;
        if (kept == a.k && first + 64 <= a.n && !any_above(a.x + first, a.values[a.k - 1])) continue;
        for (uint32_t rest = candidates(a, first); rest; rest &= rest - 1) {
            const int i = first + __builtin_ctz(rest);
            if (kept < a.k) insert(a, kept++, a.x[i], i);
            else if (above(a.x[i], a.values[a.k - 1])) insert(a, a.k, a.x[i], i);
        }
    }
    for (int i = 0; kept < a.k; ++i) {      // the others are all equal: the first of them
        if (candidates(a, i / 32 * 32) >> i % 32 & 1) continue;
        a.values[kept] = -__builtin_inff();
        a.ids[kept++] = i;
    }
}

static void top_k(const void* args, Scratch, int64_t, int64_t) {        // one item
    const TopKArgs& a = *static_cast<const TopKArgs*>(args);
    a.bits ? top_k_of_allowed(a) : top_k_of_all(a);
}

}}  // namespace gristmill::GM_LEVEL
