// Numbers to blocks of the plain formats without an importance: GGML's arithmetic, bit for bit.
//
// No search, so plain loops do: the compiler makes vectors of them. Layouts and the slow twin: kernels/formats/legacy.py.
#pragma once

namespace gristmill { namespace GM_LEVEL {

constexpr int kPlain = 32;

static inline float inverse_or_zero(float d) { return d == 0.0f ? 0.0f : 1.0f / d; }

// Towards zero; 0 for what is no number or out of range, which a cast may not meet.
static inline int whole(float v) { return v > -2147483648.0f && v < 2147483648.0f ? static_cast<int>(v) : 0; }

static inline uint8_t level_of(float v, int highest) {
    const int q = whole(v);
    return static_cast<uint8_t>(q < 0 ? 0 : q > highest ? highest : q);
}

static void pack_plain(const uint8_t* q, bool five, uint8_t* out) {     // [32 high bits] [nibbles]
    if (five) {
        for (int i = 0; i < 4; ++i, ++out) {
            int bits = 0;
            for (int b = 0; b < 8; ++b) bits |= (q[8 * i + b] >> 4) << b;
            *out = static_cast<uint8_t>(bits);
        }
    }
    for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>((q[i] & 15) | (q[16 + i] & 15) << 4);
}

// The element of largest magnitude, the first of them, becomes the lowest level.
static void encode_signed_exact(const float* x, uint8_t* out, bool five) {
    float extreme = x[0];
    for (int i = 1; i < kPlain; ++i) extreme = __builtin_fabsf(x[i]) > __builtin_fabsf(extreme) ? x[i] : extreme;
    const float d = extreme / (five ? -16.0f : -8.0f), factor = inverse_or_zero(d), middle = five ? 16.5f : 8.5f;
    uint8_t q[kPlain];
    for (int i = 0; i < kPlain; ++i) q[i] = level_of(x[i] * factor + middle, five ? 31 : 15);
    put_half(out, d);
    pack_plain(q, five, out + 2);
}

// Levels from the smallest element in equal steps to the largest.
static void encode_range_exact(const float* x, uint8_t* out, bool five) {
    float low = x[0], high = x[0];
    for (int i = 1; i < kPlain; ++i) low = x[i] < low ? x[i] : low, high = x[i] > high ? x[i] : high;
    const float d = (high - low) / (five ? 31.0f : 15.0f), factor = inverse_or_zero(d);
    uint8_t q[kPlain];
    for (int i = 0; i < kPlain; ++i) q[i] = level_of((x[i] - low) * factor + 0.5f, five ? 31 : 15);
    put_half(out, d), put_half(out + 2, low);
    pack_plain(q, five, out + 4);
}

// Halves go away from zero.
static void encode_q8_0_exact(const float* x, uint8_t* out) {
    float most = 0.0f;
    for (int i = 0; i < kPlain; ++i) most = __builtin_fabsf(x[i]) > most ? __builtin_fabsf(x[i]) : most;
    const float d = most / 127.0f, factor = inverse_or_zero(d);
    put_half(out, d);
    for (int i = 0; i < kPlain; ++i) {
        const float scaled = x[i] * factor;
        const int q = whole(scaled);
        const float rest = scaled - static_cast<float>(q);
        out[2 + i] = static_cast<uint8_t>(q + (rest >= 0.5f) - (rest <= -0.5f));
    }
}

}}  // namespace gristmill::GM_LEVEL
