// Numbers to blocks, for every format that has a search or an exact rule of its own (encode_*.h).
#pragma once

namespace gristmill { namespace GM_LEVEL {

// Items are rows.
static void encode(const void* args, Scratch, int64_t first, int64_t last) {
    const EncodeArgs& a = *static_cast<const EncodeArgs*>(args);
    for (int64_t n = first; n < last; ++n) {
        const float* x = a.x + n * a.cols;
        const float* w = a.importance ? a.importance + n * a.importance_stride : nullptr;
        uint8_t* out = a.out + n * a.row_bytes;
        for (int64_t i = 0; i < a.cols; i += a.block_elems, out += a.block_bytes) {
            const float* weights = w ? w + i : nullptr;
            switch (a.format) {         // type numbers of GGUF
                case 2: weights ? encode_plain(x + i, weights, out, false, false) : encode_signed_exact(x + i, out, false); break;
                case 3: weights ? encode_plain(x + i, weights, out, false, true) : encode_range_exact(x + i, out, false); break;
                case 6: weights ? encode_plain(x + i, weights, out, true, false) : encode_signed_exact(x + i, out, true); break;
                case 7: weights ? encode_plain(x + i, weights, out, true, true) : encode_range_exact(x + i, out, true); break;
                case 8: encode_q8_0_exact(x + i, out); break;
                case 10: encode_q2_k(x + i, weights, out); break;
                case 11: encode_q3_k(x + i, weights, out); break;
                case 12: encode_q45_k(x + i, weights, out, false); break;
                case 13: encode_q45_k(x + i, weights, out, true); break;
                case 14: encode_q6_k(x + i, weights, out); break;
                case 16: encode_iq2_xxs(x + i, weights, out); break;
                case 17: encode_iq2_xs(x + i, weights, out); break;
                case 18: encode_iq3_xxs(x + i, weights, out); break;
                case 19: encode_iq1_s(x + i, weights, out); break;
                case 20: encode_iq4_nl(x + i, weights, out); break;
                case 21: encode_iq3_s(x + i, weights, out); break;
                case 22: encode_iq2_s(x + i, weights, out); break;
                case 23: encode_iq4_xs(x + i, weights, out); break;
                case 29: encode_iq1_m(x + i, weights, out); break;
                case 34: encode_tq1_0(x + i, out); break;
                case 35: encode_tq2_0(x + i, out); break;
                case 39: encode_mxfp4(x + i, weights, out); break;
                case 40: encode_nvfp4(x + i, weights, out); break;
            }
        }
    }
}

}}  // namespace gristmill::GM_LEVEL
