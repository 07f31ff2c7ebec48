// All kernels of one level. Included once by each file in levels/, after the level's primitives.
//
// Everything here has internal linkage or lies in the level's namespace, and nothing of the standard library's
// templates is used: the linker must never keep one level's instructions for code that another level runs.
#pragma once
#include "../layouts.h"
#include "../level_table.h"

#include "codecs.h"
#include "codecs_lookup.h"
#include "rows.h"
#include "dot.h"
#include "math.h"
#include "linear.h"
#include "experts.h"
#include "lora.h"
#include "embedding.h"
#include "kv.h"
#include "attention.h"
#include "rope.h"
#include "pointwise.h"
#include "short_conv.h"
#include "scan.h"
#include "delta.h"
#include "top_k.h"
#include "masked.h"
#include "encode_search.h"
#include "encode_exact.h"
#include "encode_k.h"
#include "encode_lookup.h"
#include "encode_ternary.h"
#include "encode_grid.h"
#include "encode_iq.h"
#include "encode.h"

#define GM_TEXT2(x) #x
#define GM_TEXT(x) GM_TEXT2(x)
#define GM_JOIN2(x, y) x##y
#define GM_JOIN(x, y) GM_JOIN2(x, y)

namespace gristmill {
namespace GM_LEVEL {

static int64_t padded_rows(int32_t n) { return Tiles(n).padded(); }

static int64_t tiles(int32_t n) { return Tiles(n).count(); }

static size_t acts_bytes(int32_t rows, int32_t cols, uint32_t kinds) {      // kinds: one bit for each
    uint32_t forms = 0;
    for (int kind = 0; kind < kNumKinds; ++kind)
        if (kinds >> kind & 1) forms |= act_form(kind);
    return Acts::row_bytes(cols, forms) * rows;
}

static size_t state_bytes(const AttentionArgs& a) { return 4 * State::floats(tile_rows(a), a.v_dim); }

}  // namespace GM_LEVEL

extern const Level GM_JOIN(level_, GM_LEVEL) = {
    GM_TEXT(GM_LEVEL), GM_LEVEL::kBigTile, GM_LEVEL::kSignedOffset,
    GM_LEVEL::padded_rows, GM_LEVEL::tiles, GM_LEVEL::acts_bytes, GM_LEVEL::state_bytes,
    GM_LEVEL::linear_scratch, GM_LEVEL::expert_scratch, GM_LEVEL::embedding_scratch, GM_LEVEL::attention_scratch,
    GM_LEVEL::ssd_scratch,
    GM_LEVEL::delta_scratch, GM_LEVEL::delta_floats,
    GM_LEVEL::split_count, GM_LEVEL::expert_count,
    GM_LEVEL::linear_begin, GM_LEVEL::linear_prepare, GM_LEVEL::linear,
    GM_LEVEL::expert_order, GM_LEVEL::expert_prepare, GM_LEVEL::expert,
    GM_LEVEL::lora_inner, GM_LEVEL::lora_outer,
    GM_LEVEL::short_conv, GM_LEVEL::short_conv_state, GM_LEVEL::ssd_scan, GM_LEVEL::selective_scan,
    GM_LEVEL::embedding, GM_LEVEL::norm, GM_LEVEL::layer_norm, GM_LEVEL::point, GM_LEVEL::gather_rows, GM_LEVEL::concat,
    GM_LEVEL::angles,
    GM_LEVEL::rope_store, GM_LEVEL::attention, GM_LEVEL::attention_merge, GM_LEVEL::route, GM_LEVEL::combine,
    GM_LEVEL::top_k, GM_LEVEL::masked, GM_LEVEL::encode, GM_LEVEL::delta_prepare, GM_LEVEL::delta_scan,
};

}  // namespace gristmill
