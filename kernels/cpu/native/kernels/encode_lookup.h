// Numbers to blocks of the formats whose codes look up one of 16 values. Layouts: kernels/formats/four_bit.py.
#pragma once

namespace gristmill { namespace GM_LEVEL {

struct Levels {                 // in order: the lowest value, where the next one is nearer, and how much higher it is
    float lowest, middle[15], step[15];
    uint8_t code[16];
};

static constexpr Levels levels_of(const int (&values)[16], const int (&codes)[16]) {
    Levels out{};
    out.lowest = static_cast<float>(values[0]);
    for (int i = 0; i < 16; ++i) out.code[i] = static_cast<uint8_t>(codes[i]);
    for (int i = 0; i < 15; ++i) {
        out.middle[i] = static_cast<float>(values[i] + values[i + 1]) / 2.0f;
        out.step[i] = static_cast<float>(values[i + 1] - values[i]);
    }
    return out;
}

constexpr Levels kNonLinearLevels = levels_of({-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
                                              {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
constexpr Levels kFloatLevels = levels_of({-12, -8, -6, -4, -3, -2, -1, 0, 0, 1, 2, 3, 4, 6, 8, 12},
                                          {15, 14, 13, 12, 11, 10, 9, 0, 8, 1, 2, 3, 4, 5, 6, 7});

// The nearest value; of two at the same distance the lower one.
static inline F nearest_level(const Levels& levels, F x) {
    F value = set_f(levels.lowest);
    for (int i = 0; i < 15; ++i) value = add(value, pick(x, set_f(levels.middle[i]), set_f(levels.step[i]), set_f(0.0f)));
    return value;
}

static inline void store_codes(const Levels& levels, F x, uint8_t* out) {
    I n = set_i(0);
    for (int i = 0; i < 15; ++i) n = add_i(n, pick(x, set_f(levels.middle[i]), set_i(1), set_i(0)));
    store_low_b(out, lookup_b(levels.code, n));
}

static inline void pack_pairs(const uint8_t* q, int n, uint8_t* out) {      // the first n codes in the low halves
    for (int i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(q[i] | q[n + i] << 4);
}

template <int kN> static float level_error(const Sub<kN>& s, const Levels& levels, float d) {
    const F factor = set_f(inverse(d));
    F q[kN];
    for (int v = 0; v < kN; ++v) q[v] = nearest_level(levels, mul(s.x[v], factor));
    return s.error(d, 0.0f, q);
}

template <int kN> static void put_codes(const Sub<kN>& s, const Levels& levels, float d, uint8_t* out) {
    uint8_t q[16 * kN];
    for (int v = 0; v < kN; ++v) store_codes(levels, mul(s.x[v], set_f(inverse(d))), q + 16 * v);
    pack_pairs(q, 8 * kN, out);
}

// Parts of 32 elements. Levels are far apart where elements are large, so without an importance these count for more.
template <int kElems> static void load_parts(const float* x, const float* importance, Sub<2>* subs) {
    load_block<2, kElems>(x, importance, subs);
    for (int j = 0; !importance && j < kElems / 32; ++j) {
        Sub<2>& s = subs[j];
        const float mean = sum_f(fma(s.x[1], s.x[1], mul(s.x[0], s.x[0]))) / 32.0f;
        for (F& w : s.w) w = set_f(mean);
        for (int v = 0; v < 2; ++v) s.w[v] = add(sqrt_f(s.w[v]), abs(s.x[v]));
        s.finish();
    }
}

static float non_linear_scale(const Sub<2>& s) {
    return code_scale(s, {-145.0f, 2.0f, 19}, [&](float d, F* q) {
        const F factor = set_f(inverse(d));
        for (int v = 0; v < 2; ++v) q[v] = nearest_level(kNonLinearLevels, mul(s.x[v], factor));
    });
}

static void encode_iq4_nl(const float* x, const float* importance, uint8_t* out) {
    Sub<2> s;
    load_parts<32>(x, importance, &s);
    const float d = through_half(non_linear_scale(s));
    put_half(out, d);
    put_codes(s, kNonLinearLevels, d, out + 2);
}

// The code of a scale: `code` or one beside it, and the error with it.
template <int kN, class Step> static float best_code(const Sub<kN>& s, const Levels& levels, int low, int high, const Step& step,
                                                     int* code) {
    const int middle = *code;
    float best = level_error(s, levels, step(middle));
    for (int trial = middle - 1; trial <= middle + 1; trial += 2) {
        if (trial < low || trial > high) continue;
        const float error = level_error(s, levels, step(trial));
        if (error < best) best = error, *code = trial;
    }
    return best;
}

static void encode_iq4_xs(const float* x, const float* importance, uint8_t* out) {
    Sub<2> subs[8];
    float scale[8], extreme = 0.0f, d = 0.0f, error = 0.0f;
    int code[8];
    load_parts<kBlock>(x, importance, subs);
    for (int j = 0; j < 8; ++j) {
        scale[j] = non_linear_scale(subs[j]);
        if (__builtin_fabsf(scale[j]) > __builtin_fabsf(extreme)) extreme = scale[j];
    }
    for (int multiple = -32; multiple < -24; ++multiple) {      // that the largest scale becomes
        const float trial = through_half(extreme / static_cast<float>(multiple));
        float total = 0.0f;
        int found[8];
        for (int j = 0; j < 8; ++j) {
            found[j] = nearest_code(scale[j], inverse(trial), -32, 31);
            total += best_code(subs[j], kNonLinearLevels, -32, 31, [&](int c) { return trial * static_cast<float>(c); }, found + j);
        }
        if (multiple > -32 && !(total < error)) continue;
        error = total, d = trial;
        for (int j = 0; j < 8; ++j) code[j] = found[j];
    }
    int high = 0;
    put_half(out, d);
    for (int j = 0; j < 8; ++j) {
        put_codes(subs[j], kNonLinearLevels, d * static_cast<float>(code[j]), out + 8 + 16 * j);
        high |= (code[j] + 32) >> 4 << 2 * j;
    }
    for (int j = 0; j < 4; ++j) out[4 + j] = static_cast<uint8_t>(((code[2 * j] + 32) & 15) | ((code[2 * j + 1] + 32) & 15) << 4);
    out[2] = static_cast<uint8_t>(high), out[3] = static_cast<uint8_t>(high >> 8);
}

static inline float float_of(uint32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, 4);
    return x;
}

static inline float power_of_two(int code) {        // 2^(code - 128): for codes below 2 a denormal number
    return float_of(code < 2 ? 0x00200000u << code : static_cast<uint32_t>(code - 1) << 23);
}

static inline float half_e4m3(int code) {           // four bits of exponent, three of mantissa
    const int mantissa = code & 7;
    return code < 8 ? static_cast<float>(mantissa) * 0x1p-10f
                    : float_of(static_cast<uint32_t>((code >> 3) + 119) << 23 | static_cast<uint32_t>(mantissa) << 20);
}

// The elements of a floating-point format weigh as much as their importance, however large they are.
template <int kN> static void load_floats(const float* x, const float* importance, Sub<kN>& s) {
    for (int v = 0; v < kN; ++v) {
        s.x[v] = load_f(x + 16 * v);
        s.w[v] = importance ? load_f(importance + 16 * v) : set_f(1.0f);
    }
}

// The exponent with which the largest element is 4 to 6 times the scale, or one beside it that fits better.
static void encode_mxfp4(const float* x, const float* importance, uint8_t* out) {
    Sub<2> s;
    load_floats(x, importance, s);
    const float top = max_f(max(abs(s.x[0]), abs(s.x[1])));
    uint32_t bits;
    __builtin_memcpy(&bits, &top, 4);
    int code = static_cast<int>(bits >> 23 & 255) - 2;
    code = code < 0 ? 0 : code;
    best_code(s, kFloatLevels, 0, 254, power_of_two, &code);
    out[0] = static_cast<uint8_t>(code);
    put_codes(s, kFloatLevels, power_of_two(code), out + 1);
}

// The first scale with which the largest element is a level, or one up to two beside it.
static void encode_nvfp4(const float* x, const float* importance, uint8_t* out) {
    constexpr int kHighest = 126;
    for (int j = 0; j < 4; ++j) {
        Sub<1> s;
        load_floats(x + 16 * j, importance ? importance + 16 * j : nullptr, s);
        const float wanted = max_f(abs(s.x[0])) / 12.0f;
        int code = 0;
        for (int n = 64; n; n /= 2)         // the first code that is large enough
            if (code + n <= kHighest && half_e4m3(code + n - 1) < wanted) code += n;
        for (int again = 0; again < 2; ++again) best_code(s, kFloatLevels, 0, kHighest, half_e4m3, &code);
        out[j] = static_cast<uint8_t>(code);
        put_codes(s, kFloatLevels, half_e4m3(code), out + 4 + 8 * j);
    }
}

}}  // namespace gristmill::GM_LEVEL
