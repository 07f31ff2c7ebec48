// Numbers to blocks of the ternary formats: exact, made for weights that are ternary. Layouts: kernels/formats/ternary.py.
#pragma once

namespace gristmill { namespace GM_LEVEL {

// d, the largest magnitude, and codes 0 to 2.
static float ternary_codes(const float* x, uint8_t* q) {
    float d = 0.0f;
    for (int i = 0; i < kBlock; ++i) d = __builtin_fabsf(x[i]) > d ? __builtin_fabsf(x[i]) : d;
    const float factor = inverse(d);
    for (int i = 0; i < kBlock; ++i) {
        const float scaled = x[i] * factor;
        q[i] = static_cast<uint8_t>(1 + (scaled >= 0.5f) - (scaled <= -0.5f));
    }
    return d;
}

// Byte i: the fraction of 3^5 that n digits are, rounded up; n_bytes elements lie between two digits.
static void pack_digits(const uint8_t* q, int n, int n_bytes, uint8_t* out) {
    for (int i = 0; i < n_bytes; ++i) {
        int value = 0, power = 81;
        for (int digit = 0; digit < n; ++digit, power /= 3) value += q[n_bytes * digit + i] * power;
        out[i] = static_cast<uint8_t>((value * 256 + 242) / 243);
    }
}

static void encode_tq1_0(const float* x, uint8_t* out) {
    uint8_t q[kBlock];
    put_half(out + 52, ternary_codes(x, q));
    pack_digits(q, 5, 32, out);
    pack_digits(q + 160, 5, 16, out + 32);
    pack_digits(q + 240, 4, 4, out + 48);
}

static void encode_tq2_0(const float* x, uint8_t* out) {
    uint8_t q[kBlock];
    put_half(out + 64, ternary_codes(x, q));
    pack_quarters(q, out);
}

}}  // namespace gristmill::GM_LEVEL
