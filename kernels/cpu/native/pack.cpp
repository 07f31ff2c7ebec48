// Packing runs once, at load, and moves bytes: it is the same on every level but for the offset of Q8_0's codes. Rows past the last one are zero.
#include "pack.h"

#include <cstring>

#include "layouts.h"

namespace gristmill {

namespace {

struct Piece {                  // bytes of a file block that are interleaved by words, in the order of the packed codes
    int16_t at, n_bytes;
};

using Blocks = const uint8_t* [16];     // the same block of 16 rows; null past the last row

struct Recipe {
    Piece codes[3];
    void (*scales)(Blocks rows, uint8_t* out);
};

void put16(uint8_t* out, int row, uint16_t value) { std::memcpy(out + 2 * row, &value, 2); }

// The two bytes at `at` of each block as (16) half floats.
void halves(Blocks rows, int at, uint8_t* out) {
    for (int r = 0; r < 16; ++r) {
        if (rows[r]) std::memcpy(out + 2 * r, rows[r] + at, 2);
        else put16(out, r, 0);
    }
}

// n bytes from `at` as (n, 16).
void bytes(Blocks rows, int at, int n, uint8_t* out) {
    for (int r = 0; r < 16; ++r)
        for (int i = 0; i < n; ++i) out[16 * i + r] = rows[r] ? rows[r][at + i] : 0;
}

void words(Blocks rows, int at, int n_bytes, uint8_t* out) {
    for (int w = 0; w < n_bytes / 4; ++w)
        for (int r = 0; r < 16; ++r) {
            uint32_t word = 0;
            if (rows[r]) std::memcpy(&word, rows[r] + at + 4 * w, 4);
            std::memcpy(out + 64 * w + 4 * r, &word, 4);
        }
}

template <int at> void d_at(Blocks rows, uint8_t* out) { halves(rows, at, out); }

void d_and_m(Blocks rows, uint8_t* out) {
    halves(rows, 0, out);
    halves(rows, 2, out + 32);
}

void scales_q2_k(Blocks rows, uint8_t* out) {
    halves(rows, 80, out);
    halves(rows, 82, out + 32);
    bytes(rows, 0, 16, out + 64);
}

// Twelve bytes hold 16 six-bit scales: low nibbles in the first 8, bit pairs for the high ends in the last 4.
void scales_q3_k(Blocks rows, uint8_t* out) {
    halves(rows, 108, out);
    for (int r = 0; r < 16; ++r)
        for (int i = 0; i < 16; ++i) {
            int scale = 0;
            if (const uint8_t* p = rows[r] ? rows[r] + 96 : nullptr) {
                int low = i < 8 ? p[i] & 15 : p[i - 8] >> 4;
                scale = (low | (p[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32;
            }
            out[32 + 16 * i + r] = static_cast<uint8_t>(scale);
        }
}

// Twelve bytes hold 8 six-bit scales and 8 minima (get_scale_min_k4 in ggml-quants.c).
void scales_q4_k(Blocks rows, uint8_t* out) {
    d_and_m(rows, out);
    for (int r = 0; r < 16; ++r)
        for (int i = 0; i < 8; ++i) {
            uint8_t scale = 0, minimum = 0;
            if (const uint8_t* p = rows[r] ? rows[r] + 4 : nullptr) {
                scale = i < 4 ? p[i] & 63 : (p[i + 4] & 15) | p[i - 4] >> 6 << 4;
                minimum = i < 4 ? p[i + 4] & 63 : p[i + 4] >> 4 | p[i] >> 6 << 4;
            }
            out[64 + 16 * i + r] = scale;
            out[192 + 16 * i + r] = minimum;
        }
}

void scales_q6_k(Blocks rows, uint8_t* out) {
    halves(rows, 208, out);
    bytes(rows, 192, 16, out + 32);
}

void scales_iq4_xs(Blocks rows, uint8_t* out) {
    halves(rows, 0, out);
    for (int r = 0; r < 16; ++r)
        for (int i = 0; i < 8; ++i) {
            int scale = 0;
            if (const uint8_t* p = rows[r]) {
                int high = (p[2] | p[3] << 8) >> 2 * i & 3;
                scale = ((p[4 + i / 2] >> i % 2 * 4 & 15) | high << 4) - 32;
            }
            out[32 + 16 * i + r] = static_cast<uint8_t>(scale);
        }
}

// 2^(e - 128) as bfloat16; the lowest two are denormal numbers.
void scales_mxfp4(Blocks rows, uint8_t* out) {
    for (int r = 0; r < 16; ++r) {
        int e = rows[r] ? rows[r][0] : 0;
        put16(out, r, rows[r] ? static_cast<uint16_t>(e < 2 ? 0x20 << e : (e - 1) << 7) : 0);
    }
}

// Unsigned E4M3 over 2, as float16: exponent bias 7 becomes 15 - 1, denormal numbers become normal ones. 0x7F is zero.
uint16_t half_of_e4m3(uint8_t code) {
    int exponent = code >> 3 & 15, mantissa = code & 7;
    if (code == 0x7F || (exponent == 0 && mantissa == 0)) return 0;
    if (exponent == 0) {        // mantissa * 2^-10
        exponent = 1;
        while (!(mantissa & 8)) mantissa <<= 1, --exponent;
        mantissa &= 7;
    }
    return static_cast<uint16_t>((exponent + 7) << 10 | mantissa << 7);
}

void scales_nvfp4(Blocks rows, uint8_t* out) {
    for (int r = 0; r < 16; ++r)
        for (int i = 0; i < 4; ++i) put16(out + 32 * i, r, rows[r] ? half_of_e4m3(rows[r][i]) : 0);
}

template <int at, int n> void d_and_bytes(Blocks rows, uint8_t* out) {
    halves(rows, 0, out);
    bytes(rows, at, n, out + 32);
}

// d lies in the top nibbles of the four 16-bit words of scales.
void scales_iq1_m(Blocks rows, uint8_t* out) {
    for (int r = 0; r < 16; ++r) {
        uint16_t d = 0;
        for (int i = 0; i < 4 && rows[r]; ++i) d = static_cast<uint16_t>(d | rows[r][49 + 2 * i] >> 4 << 4 * i);
        put16(out, r, d);
    }
    words(rows, 48, 8, out + 32);
}

constexpr Recipe kRecipes[kNumKinds] = {
    {}, {}, {},
    {{{2, 16}}, d_at<0>},                       // Q4_0
    {{{4, 16}}, d_and_m},                       // Q4_1
    {{{6, 16}}, d_at<0>},                       // Q5_0, and fifth_bits
    {{{8, 16}}, d_and_m},                       // Q5_1, and fifth_bits
    {{{2, 32}}, d_at<0>},                       // Q8_0
    {{{16, 64}}, scales_q2_k},
    {{{32, 64}, {0, 32}}, scales_q3_k},
    {{{16, 128}}, scales_q4_k},
    {{{48, 128}, {16, 32}}, scales_q4_k},       // Q5_K
    {{{0, 128}, {128, 64}}, scales_q6_k},
    {{{2, 16}}, d_at<0>},                       // IQ4_NL
    {{{8, 128}}, scales_iq4_xs},
    {{{1, 16}}, scales_mxfp4},
    {{{4, 32}}, scales_nvfp4},
    {{{0, 52}}, d_at<52>},                      // TQ1_0
    {{{0, 64}}, d_at<64>},                      // TQ2_0
    {{{2, 64}}, d_at<0>},                       // IQ2_XXS
    {{{2, 64}}, d_and_bytes<66, 8>},            // IQ2_XS
    {{{2, 72}}, d_and_bytes<74, 8>},            // IQ2_S
    {{{2, 96}}, d_at<0>},                       // IQ3_XXS
    {{{2, 104}}, d_and_bytes<106, 4>},          // IQ3_S
    {{{2, 48}}, d_at<0>},                       // IQ1_S
    {{{0, 48}}, scales_iq1_m},
};

// Q5_0 and Q5_1 keep the fifth bits as one number: element e is bit e. In the plane, bit s of byte j is element 4s + j.
void fifth_bits(Blocks rows, int at, uint8_t* out) {
    for (int r = 0; r < 16; ++r) {
        uint32_t bits = 0, plane = 0;
        if (rows[r]) std::memcpy(&bits, rows[r] + at, 4);
        for (int e = 0; e < 32; ++e) plane |= (bits >> e & 1) << (e % 4 * 8 + e / 4);
        std::memcpy(out + 4 * r, &plane, 4);
    }
}

void pack_blocks(const PackArgs& a, int64_t panel, uint8_t* out) {
    const Layout& layout = kLayouts[a.kind];
    const Recipe& recipe = kRecipes[a.kind];
    const int64_t n_blocks = a.cols / layout.block;
    uint8_t *codes = out, *scales = out + n_blocks * layout.code_bytes;
    for (int64_t b = 0; b < n_blocks; ++b) {
        Blocks rows;
        for (int r = 0; r < 16; ++r) {
            int64_t row = panel * 16 + r;
            rows[r] = row < a.rows ? a.blocks + row * a.row_bytes + b * layout.file_bytes : nullptr;
        }
        uint8_t* to = codes;
        for (const Piece& piece : recipe.codes) {
            words(rows, piece.at, piece.n_bytes, to);
            to += 16 * piece.n_bytes;
        }
        if (a.kind == kQ5_0 || a.kind == kQ5_1) fifth_bits(rows, a.kind == kQ5_0 ? 2 : 4, to);
        if (a.kind == kQ8_0)
            for (int i = 0; i < layout.code_bytes; ++i) codes[i] = static_cast<uint8_t>(codes[i] + a.signed_offset);
        recipe.scales(rows, scales);
        codes += layout.code_bytes;
        scales += layout.scale_bytes;
    }
    std::memset(scales, 0, static_cast<size_t>(out + a.panel_bytes - scales));
}

void pack_floats(const PackArgs& a, int64_t panel, uint8_t* out) {
    const int size = kLayouts[a.kind].file_bytes;
    std::memset(out, 0, static_cast<size_t>(a.panel_bytes));
    for (int r = 0; r < 16 && panel * 16 + r < a.rows; ++r) {
        const uint8_t* row = a.blocks + (panel * 16 + r) * a.row_bytes;
        for (int64_t i = 0; i < a.cols; ++i) {
            int64_t at = a.kind == kKindBF16 ? i / 2 * 64 + r * 4 + i % 2 * 2 : (i * 16 + r) * size;
            std::memcpy(out + at, row + i * size, static_cast<size_t>(size));
        }
    }
}

}  // namespace

void pack_panels(const void* args, Scratch, int64_t first, int64_t last) {
    const PackArgs& a = *static_cast<const PackArgs*>(args);
    for (int64_t panel = first; panel < last; ++panel) {
        uint8_t* out = a.panels + panel * a.panel_bytes;
        if (is_float_kind(a.kind)) pack_floats(a, panel, out);
        else pack_blocks(a, panel, out);
    }
}

}  // namespace gristmill
