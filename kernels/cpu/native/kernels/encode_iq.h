// Numbers to blocks of the IQ formats: what encode_grid.h found, as bytes. Layouts: kernels/formats/iq1.py, iq2.py, iq3.py.
#pragma once

namespace gristmill { namespace GM_LEVEL {

static inline void put_word(uint8_t* out, uint32_t word, int n_bytes) {
    for (int i = 0; i < n_bytes; ++i) out[i] = static_cast<uint8_t>(word >> 8 * i);
}

static inline uint32_t signs_and_scale(const GridCodes& c, int sub) {       // four times seven bits, four of the scale
    uint32_t word = static_cast<uint32_t>(c.scale[sub]) << 28;
    for (int i = 0; i < 4; ++i) word |= static_cast<uint32_t>(c.signs[4 * sub + i] & 127) << 7 * i;
    return word;
}

static inline void put_nibbles(const int* scale, int n, uint8_t* out) {
    for (int i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(scale[2 * i] | scale[2 * i + 1] << 4);
}

static void encode_iq2_xxs(const float* x, const float* importance, uint8_t* out) {
    GridCodes c;
    grid_codes<Coding<kGridIQ2_XXS, 256, 8, 4, 16, true>>(x, importance, 0.125f, c);
    put_half(out, c.d);
    for (int j = 0; j < 8; ++j) {
        for (int i = 0; i < 4; ++i) out[2 + 8 * j + i] = static_cast<uint8_t>(c.index[4 * j + i]);
        put_word(out + 2 + 8 * j + 4, signs_and_scale(c, j), 4);
    }
}

static void encode_iq2_xs(const float* x, const float* importance, uint8_t* out) {
    GridCodes c;
    grid_codes<Coding<kGridIQ2_XS, 512, 8, 2, 16, true>>(x, importance, 0.125f, c);
    put_half(out, c.d);
    for (int k = 0; k < kOctets; ++k)
        put_word(out + 2 + 2 * k, static_cast<uint32_t>(c.index[k] | (c.signs[k] & 127) << 9), 2);
    put_nibbles(c.scale, 8, out + 66);
}

static void encode_iq2_s(const float* x, const float* importance, uint8_t* out) {
    GridCodes c;
    grid_codes<Coding<kGridIQ2_S, 1024, 8, 2, 16, false>>(x, importance, 0.125f, c);
    put_half(out, c.d);
    for (int k = 0; k < kOctets; ++k) {
        out[2 + k] = static_cast<uint8_t>(c.index[k]);
        out[34 + k] = static_cast<uint8_t>(c.signs[k]);
    }
    for (int j = 0; j < 8; ++j) {
        int high = 0;
        for (int i = 0; i < 4; ++i) high |= c.index[4 * j + i] >> 8 << 2 * i;
        out[66 + j] = static_cast<uint8_t>(high);
    }
    put_nibbles(c.scale, 8, out + 74);
}

static void encode_iq3_xxs(const float* x, const float* importance, uint8_t* out) {
    GridCodes c;
    grid_codes<Coding<kGridIQ3_XXS, 256, 4, 4, 16, true>>(x, importance, 0.25f, c);
    put_half(out, c.d);
    for (int i = 0; i < 64; ++i) out[2 + i] = static_cast<uint8_t>(c.index[i]);
    for (int j = 0; j < 8; ++j) put_word(out + 66 + 4 * j, signs_and_scale(c, j), 4);
}

static void encode_iq3_s(const float* x, const float* importance, uint8_t* out) {
    GridCodes c;
    grid_codes<Coding<kGridIQ3_S, 512, 4, 4, 16, false>>(x, importance, 1.0f, c);
    put_half(out, c.d);
    for (int i = 0; i < 64; ++i) out[2 + i] = static_cast<uint8_t>(c.index[i]);
    for (int j = 0; j < 8; ++j) {
        int ninth = 0;
        for (int i = 0; i < 8; ++i) ninth |= (c.index[8 * j + i] >> 8) << i;
        out[66 + j] = static_cast<uint8_t>(ninth);
    }
    for (int k = 0; k < kOctets; ++k) out[74 + k] = static_cast<uint8_t>(c.signs[k]);
    put_nibbles(c.scale, 4, out + 106);
}

static void encode_iq1_s(const float* x, const float* importance, uint8_t* out) {
    GridCodes c;
    grid_codes<Coding<kGridIQ1, 2048, 8, 4, 8, false, true, true>>(x, importance, 1.0f, c);
    put_half(out, c.d);
    for (int j = 0; j < 8; ++j) {
        int word = c.scale[j] << 12 | c.is_down[4 * j] << 15;
        for (int i = 0; i < 4; ++i) {
            out[2 + 4 * j + i] = static_cast<uint8_t>(c.index[4 * j + i]);
            word |= c.index[4 * j + i] >> 8 << 3 * i;
        }
        put_word(out + 34 + 2 * j, static_cast<uint32_t>(word), 2);
    }
}

static void encode_iq1_m(const float* x, const float* importance, uint8_t* out) {
    GridCodes c;
    grid_codes<Coding<kGridIQ1, 2048, 8, 2, 8, false, true>>(x, importance, 1.0f, c);
    for (int k = 0; k < kOctets; ++k) out[k] = static_cast<uint8_t>(c.index[k]);
    for (int i = 0; i < 16; ++i) {
        int high[2];
        for (int o = 0; o < 2; ++o) high[o] = c.index[2 * i + o] >> 8 | c.is_down[2 * i + o] << 3;
        out[32 + i] = static_cast<uint8_t>(high[0] | high[1] << 4);
    }
    uint8_t d[2];
    put_half(d, c.d);
    for (int j = 0; j < 4; ++j) {
        int word = (d[j / 2] >> j % 2 * 4 & 15) << 12;
        for (int i = 0; i < 4; ++i) word |= c.scale[4 * j + i] << 3 * i;
        put_word(out + 48 + 2 * j, static_cast<uint32_t>(word), 2);
    }
}

}}  // namespace gristmill::GM_LEVEL
