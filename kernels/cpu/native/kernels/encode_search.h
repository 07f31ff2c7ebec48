// Searches for the scales of blocks, on vectors: what kernels/formats/search.py says, sums in another order.
#pragma once

namespace gristmill { namespace GM_LEVEL {

constexpr int kBlock = 256;

static inline float inverse(float d) { return d < 1e-30f && d > -1e-30f ? 0.0f : 1.0f / d; }
static inline float min_f(F x) { return -max_f(sub(set_f(0.0f), x)); }
// Bounds are whole numbers, so it does not matter that they come before rounding; NaN becomes the lower one.
static inline F rounded(F x, float low, float high) { return to_f(round_i(min(max(x, set_f(low)), set_f(high)))); }
static inline int nearest_code(float value, float factor, int low, int high) {
    return static_cast<int>(lane0(rounded(set_f(value * factor), static_cast<float>(low), static_cast<float>(high))));
}
static inline void put_half(uint8_t* out, float x) {
    uint8_t room[32];
    store_f16(room, set_f(x));
    out[0] = room[0], out[1] = room[1];
}
static inline float through_half(float x) {
    uint8_t room[2];
    put_half(room, x);
    return f16_at(room);
}

template <int kN> struct Sub {          // kN vectors of elements and of their weights
    F x[kN], w[kN];
    float sum_w, sum_wx;
    void finish() {
        F a = w[0], b = mul(w[0], x[0]);
        for (int v = 1; v < kN; ++v) a = add(a, w[v]), b = fma(w[v], x[v], b);
        sum_w = sum_f(a), sum_wx = sum_f(b);
    }
    float error(float d, float m, const F* q) const {
        F total = set_f(0.0f);
        for (int v = 0; v < kN; ++v) {
            F e = sub(fma(set_f(d), q[v], set_f(m)), x[v]);
            total = fma(mul(w[v], e), e, total);
        }
        return sum_f(total);
    }
    void codes(float d, float m, float low, float high, F* q) const {
        const F factor = set_f(inverse(d)), floor = set_f(m);
        for (int v = 0; v < kN; ++v) q[v] = rounded(mul(sub(x[v], floor), factor), low, high);
    }
};

struct Affine { float d, m; };
struct Span { float first, step; int n; };

template <int kN> static inline Affine solve(const Sub<kN>& s, const F* q, bool floor_at_zero) {
    F a = set_f(0.0f), b = a, c = a;
    for (int v = 0; v < kN; ++v) {
        F wq = mul(s.w[v], q[v]);
        a = add(a, wq), b = fma(wq, q[v], b), c = fma(wq, s.x[v], c);
    }
    const float wq = sum_f(a), wqq = sum_f(b), wxq = sum_f(c), over = inverse(s.sum_w * wqq - wq * wq);
    Affine found = {(s.sum_w * wxq - s.sum_wx * wq) * over, (wqq * s.sum_wx - wq * wxq) * over};
    if (floor_at_zero && found.m > 0.0f) found = {wxq * inverse(wqq), 0.0f};
    return found;
}

// x ~ d * q + m, q from 0 to high. The candidates divide the range into high + first + step * i parts.
template <int kN> static Affine affine_scale(const Sub<kN>& s, float high, const Span& span, bool floor_at_zero) {
    constexpr int kShifts = 4;
    const int n_trials = span.n;
    float low = min_f(s.x[0]), top = max_f(s.x[0]);
    for (int v = 1; v < kN; ++v) {
        const float l = min_f(s.x[v]), t = max_f(s.x[v]);
        low = l < low ? l : low, top = t > top ? t : top;
    }
    if (floor_at_zero && low > 0.0f) low = 0.0f;
    Affine best = {(top - low) / high, low};
    F q[kN];
    s.codes(best.d, low, 0.0f, high, q);
    float error = s.error(best.d, best.m, q);
    const float over = inverse(top - low), over_d = inverse(best.d);
    for (int i = 0; i < n_trials + kShifts; ++i) {
        const float factor = i < n_trials ? (high + span.first + span.step * static_cast<float>(i)) * over : over_d;
        const float shift = i < n_trials ? 0.0f : 0.25f * static_cast<float>(i - n_trials + 1);
        for (int v = 0; v < kN; ++v)
            q[v] = rounded(fma(sub(s.x[v], set_f(low)), set_f(factor), set_f(shift)), 0.0f, high);
        for (int again = 0; again < 2; ++again) {
            Affine trial = solve(s, q, floor_at_zero);
            const float e = s.error(trial.d, trial.m, q);
            if (e < error && trial.d > 0.0f) best = trial, error = e;
            if (again == 0) s.codes(trial.d, trial.m, 0.0f, high, q);
        }
    }
    return best;
}

// x ~ d * code, the codes by `nearest(d, q)`. The candidates make the largest element one of n `ends`, first + step * i.
template <int kN, class Nearest> static float code_scale(const Sub<kN>& s, const Span& ends, const Nearest& nearest) {
    F a = abs(s.x[0]);
    for (int v = 1; v < kN; ++v) a = max(a, abs(s.x[v]));
    const float size = max_f(a);
    bool positive = false;          // of the first element of the largest magnitude
    float room[16 * kN];
    for (int v = 0; v < kN; ++v) store_f(room + 16 * v, s.x[v]);
    for (int i = 0; i < 16 * kN; ++i)
        if (room[i] == size || room[i] == -size) { positive = room[i] > 0.0f; break; }
    float best = 0.0f, score = 0.0f;
    for (int i = 0; i < ends.n; ++i)
        for (int sign = 0; sign < 2; ++sign) {
            const float end = ends.first + ends.step * static_cast<float>(i);
            F q[kN], xq = set_f(0.0f), qq = xq;
            nearest((positive == (sign == 0) ? size : -size) / end, q);
            for (int v = 0; v < kN; ++v) {
                F wq = mul(s.w[v], q[v]);
                xq = fma(wq, s.x[v], xq), qq = fma(wq, q[v], qq);
            }
            const float top = sum_f(xq), bottom = inverse(sum_f(qq)), gain = top * top * bottom;
            if (gain > score) best = top * bottom, score = gain;
        }
    return best;
}

// x ~ d * q, q from low to high.
template <int kN> static float symmetric_scale(const Sub<kN>& s, float low, float high) {
    return code_scale(s, {low - 2.5f, 0.5f, 11}, [&](float d, F* q) { s.codes(d, 0.0f, low, high, q); });
}

// Elements and weights of a block of kElems as kElems / (16 kN) parts.
template <int kN, int kElems> static void load_block(const float* x, const float* importance, Sub<kN>* subs) {
    F total = set_f(0.0f);
    for (int i = 0; i < kElems; i += 16) total = fma(load_f(x + i), load_f(x + i), total);
    const F spread = set_f(2.0f * sum_f(total) / kElems);
    for (int i = 0; i < kElems / 16; ++i) {
        Sub<kN>& s = subs[i / kN];
        F v = load_f(x + 16 * i);
        s.x[i % kN] = v;
        s.w[i % kN] = importance ? mul(load_f(importance + 16 * i), sqrt_f(fma(v, v, spread))) : set_f(1.0f);
        if (i % kN == kN - 1) s.finish();
    }
}

}}  // namespace gristmill::GM_LEVEL
