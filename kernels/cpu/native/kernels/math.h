// exp, tanh and the activations, on vectors.
#pragma once

namespace gristmill { namespace GM_LEVEL {

// e^x with a relative error of about 1e-7; 0 below -87, NaN stays NaN. Range reduction by ln 2 in two parts, then
// the Taylor polynomial of degree 7 on [-ln2 / 2, ln2 / 2].
static inline F exp_f(F x) {
    F bounded = min(set_f(88.0f), max(set_f(-87.0f), x));
    I n = round_i(mul(bounded, set_f(1.44269504f)));
    F whole = to_f(n);
    F r = fma(whole, set_f(-0.693145752f), bounded);
    r = fma(whole, set_f(-1.42860677e-6f), r);
    F p = set_f(1.0f / 5040);
    p = fma(p, r, set_f(1.0f / 720));
    p = fma(p, r, set_f(1.0f / 120));
    p = fma(p, r, set_f(1.0f / 24));
    p = fma(p, r, set_f(1.0f / 6));
    p = fma(p, r, set_f(0.5f));
    p = fma(p, r, set_f(1.0f));
    p = fma(p, r, set_f(1.0f));
    F power = as_f(shl_i<23>(add_i(n, set_i(127))));
    return zero_below(x, -87.0f, mul(p, power));
}

static inline F tanh_f(F x) {       // 1 - 2 / (e^2x + 1)
    return sub(set_f(1.0f), div(set_f(2.0f), add(exp_f(add(x, x)), set_f(1.0f))));
}

static inline F sigmoid(F x) { return div(set_f(1.0f), add(set_f(1.0f), exp_f(sub(set_f(0.0f), x)))); }

static inline F silu(F x) { return div(x, add(set_f(1.0f), exp_f(sub(set_f(0.0f), x)))); }

// ln(1 + e^x). Of u = e^-|x|, ln(1 + u) is 2 artanh(u / (2 + u)), whose argument is at most 1/3: seven terms.
static inline F softplus(F x) {
    F u = exp_f(sub(set_f(0.0f), abs(x))), s = div(u, add(u, set_f(2.0f))), square = mul(s, s);
    F p = set_f(1.0f / 13);
    for (int n = 11; n > 0; n -= 2) p = fma(p, square, set_f(1.0f / static_cast<float>(n)));
    return fma(add(s, s), p, max(set_f(0.0f), x));
}

static inline F oai_swiglu(F x, F y) {      // gpt-oss: both bounded by 7, the gate steeper, one added to the other side
    F gate = min(x, set_f(7.0f)), up = max(min(y, set_f(7.0f)), set_f(-7.0f));
    return mul(mul(gate, sigmoid(mul(gate, set_f(1.702f)))), add(up, set_f(1.0f)));
}

static inline F gelu(F x) {         // tanh form (Hendrycks and Gimpel, arXiv:1606.08415)
    F inner = mul(mul(set_f(0.797884561f), x), fma(mul(set_f(0.044715f), x), x, set_f(1.0f)));
    return mul(mul(set_f(0.5f), x), add(set_f(1.0f), tanh_f(inner)));
}

// x times the normal distribution's integral up to x. Of its complement, exp(-x^2 / 2) times a polynomial of
// 1 / (1 + p |x| / sqrt 2): Abramowitz and Stegun 7.1.26, off by at most 1.5e-7.
static inline F gelu_erf(F x) {
    F size = abs(x), t = div(set_f(1.0f), fma(size, set_f(0.3275911f * 0.707106781f), set_f(1.0f)));
    F p = set_f(1.061405429f);
    p = fma(p, t, set_f(-1.453152027f));
    p = fma(p, t, set_f(1.421413741f));
    p = fma(p, t, set_f(-0.284496736f));
    p = mul(fma(p, t, set_f(0.254829592f)), t);
    F tail = mul(p, exp_f(mul(mul(x, x), set_f(-0.5f))));
    return sub(max(set_f(0.0f), x), mul(mul(set_f(0.5f), size), tail));
}

static inline F activate(F x, int32_t activation) { return activation == kSilu ? silu(x) : gelu(x); }

}}  // namespace gristmill::GM_LEVEL
