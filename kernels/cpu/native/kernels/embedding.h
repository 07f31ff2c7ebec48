// Rows of a packed weight, at their exact values.
#pragma once

namespace gristmill { namespace GM_LEVEL {

static size_t embedding_scratch(const EmbeddingArgs&) { return sizeof(Unpacked); }

static void float_row(const EmbeddingArgs& a, const uint8_t* panel, int lane, float* out) {
    alignas(64) float lanes[16];
    for (int i = 0; i < a.cols; ++i) {
        if (a.kind == kKindBF16) {
            uint16_t bits;
            __builtin_memcpy(&bits, panel + (i / 2 * 16 + lane) * 4 + i % 2 * 2, 2);
            uint32_t wide = static_cast<uint32_t>(bits) << 16;
            __builtin_memcpy(out + i, &wide, 4);
        } else {
            store_f(lanes, a.kind == kKindF32 ? LoadF32::load(panel + 64 * i) : LoadF16::load(panel + 32 * i));
            out[i] = lanes[lane];
        }
    }
}

static void code_row(const EmbeddingArgs& a, const uint8_t* panel, int lane, Unpacked& w, float* out) {
    const Codec& codec = kCodecs[a.kind];
    const Layout& layout = kLayouts[a.kind];
    const uint8_t* scales = panel + static_cast<int64_t>(a.cols / layout.block) * layout.code_bytes;
    const bool negative = codec.is_signed && kSignedOffset == 0;
    for (int k = 0; k < a.cols; k += kSlab) {
        int n = a.cols - k < kSlab ? a.cols - k : kSlab, block = k / layout.block;
        codec.unpack(panel + static_cast<int64_t>(block) * layout.code_bytes,
                     scales + static_cast<int64_t>(block) * layout.scale_bytes, n / layout.block, w);
        for (int i = 0; i < n; ++i) {
            uint8_t byte = w.codes[i / 4 * 64 + lane * 4 + i % 4];
            int code = negative ? static_cast<int8_t>(byte) : byte - codec.offset, group = i / codec.group;
            float x = w.d[16 * group + lane] * static_cast<float>(code);
            out[k + i] = codec.has_min ? x + w.m[16 * group + lane] : x;
        }
    }
}

static void embedding(const void* args, Scratch scratch, int64_t first, int64_t last) {    // items: tokens
    const EmbeddingArgs& a = *static_cast<const EmbeddingArgs*>(args);
    for (int64_t n = first; n < last; ++n) {
        float* out = a.out + n * a.cols;
        int64_t id = a.ids[n];
        if (id < 0 || id >= a.rows) {
            for (int i = 0; i < a.cols; ++i) out[i] = __builtin_nanf("");
            continue;
        }
        const uint8_t* panel = a.data + id / 16 * a.panel_bytes;
        if (is_float_kind(a.kind)) float_row(a, panel, static_cast<int>(id % 16), out);
        else code_row(a, panel, static_cast<int>(id % 16), *reinterpret_cast<Unpacked*>(scratch.data), out);
    }
}

}}  // namespace gristmill::GM_LEVEL
