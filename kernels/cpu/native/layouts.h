// How packed weights lie in memory: panels of 16 rows.
//
// A panel holds first the codes of all its blocks, then their scales. Codes are the file's own bytes, interleaved
// by words of four: word 0 of row 0, of row 1, ... of row 15, word 1 of row 0, and so on, so that one 64-byte vector
// holds the same four bytes of 16 rows. Scales are arrays over the 16 rows: (16) float16 d, (n, 16) bytes.
// Float formats have no scales: elements (cols, 16), bfloat16 in pairs (cols / 2, 16, 2).
#pragma once
#include <cstdint>

namespace gristmill {

enum Kind : int32_t {
    kKindF32, kKindF16, kKindBF16,
    kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0,
    kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K,
    kIQ4_NL, kIQ4_XS, kMXFP4, kNVFP4, kTQ1_0, kTQ2_0,
    kIQ2_XXS, kIQ2_XS, kIQ2_S, kIQ3_XXS, kIQ3_S, kIQ1_S, kIQ1_M,
    kNumKinds
};

struct Layout {
    const char* name;           // the format in the file
    int32_t block;              // elements
    int32_t file_bytes;         // of a block in the file
    int32_t code_bytes;         // of a block of 16 rows
    int32_t scale_bytes;
};

constexpr Layout kLayouts[kNumKinds] = {
    {"F32", 1, 4, 64, 0}, {"F16", 1, 2, 32, 0}, {"BF16", 1, 2, 32, 0},
    {"Q4_0", 32, 18, 256, 32}, {"Q4_1", 32, 20, 256, 64}, {"Q5_0", 32, 22, 320, 32}, {"Q5_1", 32, 24, 320, 64},
    {"Q8_0", 32, 34, 512, 32},
    {"Q2_K", 256, 84, 1024, 320}, {"Q3_K", 256, 110, 1536, 288}, {"Q4_K", 256, 144, 2048, 320},
    {"Q5_K", 256, 176, 2560, 320}, {"Q6_K", 256, 210, 3072, 288},
    {"IQ4_NL", 32, 18, 256, 32}, {"IQ4_XS", 256, 136, 2048, 160}, {"MXFP4", 32, 17, 256, 32},
    {"NVFP4", 64, 36, 512, 128}, {"TQ1_0", 256, 54, 832, 32}, {"TQ2_0", 256, 66, 1024, 32},
    {"IQ2_XXS", 256, 66, 1024, 32}, {"IQ2_XS", 256, 74, 1024, 160}, {"IQ2_S", 256, 82, 1152, 160},
    {"IQ3_XXS", 256, 98, 1536, 32}, {"IQ3_S", 256, 110, 1664, 96}, {"IQ1_S", 256, 50, 768, 32},
    {"IQ1_M", 256, 56, 768, 160},
};

constexpr bool is_float_kind(int32_t kind) { return kind <= kKindBF16; }

inline int64_t panel_bytes(int32_t kind, int64_t cols) {
    if (kind == kKindBF16) return (cols + 1) / 2 * 64;
    const Layout& l = kLayouts[kind];
    int64_t bytes = cols / l.block * (l.code_bytes + l.scale_bytes);
    return (bytes + 63) / 64 * 64;
}

}  // namespace gristmill
