// Numbers to blocks: k-quants, and the plain formats with an importance. Layouts: kernels/formats/k_quants.py, legacy.py.
#pragma once

namespace gristmill { namespace GM_LEVEL {

constexpr int kAround[9][2] = {{0, 0}, {-1, -1}, {-1, 0}, {-1, 1}, {0, -1}, {0, 1}, {1, -1}, {1, 0}, {1, 1}};

static inline float largest(const float* values, int n) {
    float best = values[0];
    for (int i = 1; i < n; ++i) best = values[i] > best ? values[i] : best;
    return best;
}

// x ~ d * scale * q - dmin * minimum, in parts of 16 kN elements.
struct AffineCodes {
    float d, dmin;
    int scale[16], minimum[16];
    uint8_t q[kBlock];
};

template <int kN> static void affine_codes(const float* x, const float* importance, int high, int top, const Span& span, AffineCodes& out) {
    constexpr int kSubs = kBlock / (16 * kN);
    Sub<kN> subs[kSubs];
    float d[kSubs], m[kSubs];
    load_block<kN, kBlock>(x, importance, subs);
    for (int j = 0; j < kSubs; ++j) {
        Affine found = affine_scale(subs[j], static_cast<float>(high), span, true);
        d[j] = found.d, m[j] = -found.m;
    }
    out.d = through_half(largest(d, kSubs) / static_cast<float>(top));
    out.dmin = through_half(largest(m, kSubs) / static_cast<float>(top));
    for (int j = 0; j < kSubs; ++j) {
        const int scale = nearest_code(d[j], inverse(out.d), 0, top), minimum = nearest_code(m[j], inverse(out.dmin), 0, top);
        F q[kN], best[kN];
        float error = 0.0f;
        bool first = true;
        for (int i = 0; i < 9; ++i) {
            const int s = scale + kAround[i][0], n = minimum + kAround[i][1];
            if (s < 0 || s > top || n < 0 || n > top) continue;
            const float step = out.d * static_cast<float>(s), floor = -out.dmin * static_cast<float>(n);
            subs[j].codes(step, floor, 0.0f, static_cast<float>(high), q);
            const float e = subs[j].error(step, floor, q);
            if (!first && !(e < error)) continue;
            first = false, error = e, out.scale[j] = s, out.minimum[j] = n;
            for (int v = 0; v < kN; ++v) best[v] = q[v];
        }
        for (int v = 0; v < kN; ++v) store_low_b(out.q + 16 * (kN * j + v), round_i(best[v]));
    }
}

// x ~ d * scale * (q + low), in parts of 16 elements.
struct SymmetricCodes {
    float d;
    int scale[16];
    uint8_t q[kBlock];
};

static void symmetric_codes(const float* x, const float* importance, int low, int high, int scale_low, int scale_high,
                            SymmetricCodes& out) {
    Sub<1> subs[16];
    float d[16], extreme = 0.0f;
    load_block<1, kBlock>(x, importance, subs);
    for (int j = 0; j < 16; ++j) {
        d[j] = symmetric_scale(subs[j], static_cast<float>(low), static_cast<float>(high));
        if ((d[j] < 0 ? -d[j] : d[j]) > (extreme < 0 ? -extreme : extreme)) extreme = d[j];
    }
    out.d = through_half(extreme / static_cast<float>(scale_low));
    for (int j = 0; j < 16; ++j) {
        const int code = nearest_code(d[j], inverse(out.d), scale_low, scale_high);
        F best = set_f(0.0f);
        float error = 0.0f;
        bool first = true;
        for (int i = 0; i < 3; ++i) {
            const int s = code + (i == 1 ? -1 : i == 2);
            if (s < scale_low || s > scale_high) continue;
            F q;
            const float step = out.d * static_cast<float>(s);
            subs[j].codes(step, 0.0f, static_cast<float>(low), static_cast<float>(high), &q);
            const float e = subs[j].error(step, 0.0f, &q);
            if (!first && !(e < error)) continue;
            first = false, error = e, out.scale[j] = s, best = q;
        }
        store_low_b(out.q + 16 * j, round_i(sub(best, set_f(static_cast<float>(low)))));
    }
}

static void pack_quarters(const uint8_t* q, uint8_t* out) {         // pairs of bits, kernels/formats/k_quants.py
    for (int half = 0; half < 2; ++half)
        for (int i = 0; i < 32; ++i) {
            const uint8_t* p = q + 128 * half + i;
            out[32 * half + i] = static_cast<uint8_t>((p[0] & 3) | (p[32] & 3) << 2 | (p[64] & 3) << 4 | (p[96] & 3) << 6);
        }
}

static void pack_halves(const uint8_t* q, uint8_t* out) {           // nibbles
    for (int part = 0; part < 4; ++part)
        for (int i = 0; i < 32; ++i)
            out[32 * part + i] = static_cast<uint8_t>((q[64 * part + i] & 15) | (q[64 * part + 32 + i] & 15) << 4);
}

static void pack_high_bits(const uint8_t* q, int bit, uint8_t* out) {       // of 32-element parts, one bit each
    for (int i = 0; i < 32; ++i) {
        int bits = 0;
        for (int part = 0; part < 8; ++part) bits |= (q[32 * part + i] >> bit & 1) << part;
        out[i] = static_cast<uint8_t>(bits);
    }
}

static void pack_scales(const AffineCodes& c, uint8_t* out) {
    for (int j = 0; j < 4; ++j) {
        out[j] = static_cast<uint8_t>(c.scale[j] | c.scale[j + 4] >> 4 << 6);
        out[j + 4] = static_cast<uint8_t>(c.minimum[j] | c.minimum[j + 4] >> 4 << 6);
        out[j + 8] = static_cast<uint8_t>((c.scale[j + 4] & 15) | (c.minimum[j + 4] & 15) << 4);
    }
}

static void encode_q2_k(const float* x, const float* importance, uint8_t* out) {
    AffineCodes c;
    affine_codes<1>(x, importance, 3, 15, {-0.9f, 0.1f, 19}, c);
    for (int j = 0; j < 16; ++j) out[j] = static_cast<uint8_t>(c.scale[j] | c.minimum[j] << 4);
    pack_quarters(c.q, out + 16);
    put_half(out + 80, c.d), put_half(out + 82, c.dmin);
}

static void encode_q3_k(const float* x, const float* importance, uint8_t* out) {
    SymmetricCodes c;
    symmetric_codes(x, importance, -4, 3, -32, 31, c);
    pack_high_bits(c.q, 2, out);
    pack_quarters(c.q, out + 32);
    for (int j = 0; j < 8; ++j)
        out[96 + j] = static_cast<uint8_t>(((c.scale[j] + 32) & 15) | ((c.scale[j + 8] + 32) & 15) << 4);
    for (int j = 0; j < 4; ++j) {
        int bits = 0;
        for (int k = 0; k < 4; ++k) bits |= (c.scale[4 * k + j] + 32) >> 4 << 2 * k;
        out[104 + j] = static_cast<uint8_t>(bits);
    }
    put_half(out + 108, c.d);
}

static void encode_q45_k(const float* x, const float* importance, uint8_t* out, bool five) {
    AffineCodes c;
    affine_codes<2>(x, importance, five ? 31 : 15, 63, {-0.9f, 0.075f, 25}, c);
    put_half(out, c.d), put_half(out + 2, c.dmin);
    pack_scales(c, out + 4);
    if (five) pack_high_bits(c.q, 4, out + 16);
    pack_halves(c.q, out + (five ? 48 : 16));
}

static void encode_q6_k(const float* x, const float* importance, uint8_t* out) {
    SymmetricCodes c;
    symmetric_codes(x, importance, -32, 31, -128, 127, c);
    for (int half = 0; half < 2; ++half)
        for (int i = 0; i < 32; ++i) {
            const uint8_t* q = c.q + 128 * half + i;
            out[64 * half + i] = static_cast<uint8_t>((q[0] & 15) | (q[64] & 15) << 4);
            out[64 * half + 32 + i] = static_cast<uint8_t>((q[32] & 15) | (q[96] & 15) << 4);
            out[128 + 32 * half + i] =
                static_cast<uint8_t>(q[0] >> 4 | q[32] >> 4 << 2 | q[64] >> 4 << 4 | q[96] >> 4 << 6);
        }
    for (int j = 0; j < 16; ++j) out[192 + j] = static_cast<uint8_t>(c.scale[j]);
    put_half(out + 208, c.d);
}

// Q4_0, Q4_1, Q5_0, Q5_1 with an importance: [d] [m] [32 high bits] [nibbles].
static void encode_plain(const float* x, const float* importance, uint8_t* out, bool five, bool affine) {
    Sub<2> s;
    const float high = five ? 31.0f : 15.0f, middle = five ? 16.0f : 8.0f;
    load_block<2, 32>(x, importance, &s);
    float d, m;
    if (affine) {
        for (int v = 0; v < 2; ++v) s.w[v] = load_f(importance + 16 * v);
        s.finish();
        Affine found = affine_scale(s, high, {-2.0f, 0.05f, 61}, false);
        d = through_half(found.d), m = through_half(found.m);
    } else {
        d = through_half(symmetric_scale(s, -middle, middle - 1)), m = -middle * d;
    }
    F q[2];
    s.codes(d, m, 0.0f, high, q);
    uint8_t codes[32];
    for (int v = 0; v < 2; ++v) store_low_b(codes + 16 * v, round_i(q[v]));
    put_half(out, d);
    out += 2;
    if (affine) put_half(out, m), out += 2;
    if (five) {
        for (int i = 0; i < 4; ++i, ++out) {
            *out = 0;
            for (int b = 0; b < 8; ++b) *out = static_cast<uint8_t>(*out | (codes[8 * i + b] >> 4 & 1) << b);
        }
    }
    for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[16 + i] & 15) << 4);
}

}}  // namespace gristmill::GM_LEVEL
