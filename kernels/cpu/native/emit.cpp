#include "emit.h"

#include <algorithm>
#include <cstring>

#include "layouts.h"
#include "pack.h"

namespace gristmill {

namespace {

constexpr int64_t kClaimBytes = 192 << 10;  // of weights that a thread claims at once, where there are many
constexpr int32_t kOwnRows = 2;             // up to so many rows, each thread prepares for itself: no barrier
constexpr int64_t kBlockBytes = 384 << 10;  // of prepared rows that stay in the second cache
constexpr int32_t kQueryTile = 8, kSplit = 512;     // as in kernels/attention.h
constexpr int32_t kGroupHeads = 32;         // heads that one thread serves at once
constexpr int32_t kConvChannels = 512;              // as in kernels/short_conv.h
constexpr int32_t kLoraGroup = 4, kLoraOutputs = 64, kRankSplits = 8;   // as in kernels/lora.h
constexpr int32_t kDeltaCols = 32;                  // as in kernels/delta.h

template <class Args> Phase phase(RunFn run, const Args& args, int64_t n_items, int64_t grain, size_t scratch = 0,
                                  BeginFn begin = nullptr, CountFn count = nullptr) {
    static_assert(sizeof(Args) <= kMaxArgs, "raise kMaxArgs");
    Phase p{begin, run, count, n_items, std::max<int64_t>(1, grain), scratch, {}};
    std::memcpy(p.args, &args, sizeof(Args));
    return p;
}

int64_t panels(int32_t rows) { return (rows + 15) / 16; }

// Claims of at most kClaimBytes, but at least eight for each thread: long runs of memory are read fastest.
int64_t claim(const Context& c, int64_t n_items, int64_t panel_bytes, int64_t n_rows) {
    int64_t cost = std::max<int64_t>(1, panel_bytes * std::max<int64_t>(1, n_rows / 8));
    return std::max<int64_t>(1, std::min(kClaimBytes / cost, n_items / (8 * c.pool.n_threads())));
}

}  // namespace

void emit_linear(Context& c, LinearArgs a, Program& out) {
    uint32_t kinds = 0;
    int64_t n_panels = 0, panel_bytes = 0;
    for (int i = 0; i < a.n_matrices; ++i) {
        kinds |= 1u << a.matrices[i].kind;
        panel_bytes = std::max(panel_bytes, a.matrices[i].panel_bytes);
        if (i == 0 || !a.activation) n_panels += panels(a.matrices[i].rows);
    }
    const int32_t n_rows = static_cast<int32_t>(c.level.padded_rows(a.n)), tile = c.level.big_tile;
    const size_t row_bytes = c.level.acts_bytes(1, a.cols, kinds);
    a.block_rows = static_cast<int32_t>(std::max<int64_t>(1, kBlockBytes / static_cast<int64_t>(row_bytes) / tile)) * tile;
    a.block_rows = std::min(a.block_rows, 16 * tile);
    const bool own = a.n <= kOwnRows;
    a.acts = own ? nullptr : c.acts.get(row_bytes * n_rows);
    if (!own) out.push_back(phase(c.level.linear_prepare, a, n_rows, 1 + n_rows / (8 * c.pool.n_threads())));
    const int64_t per_block = a.block_rows / tile, n_blocks = (c.level.tiles(a.n) + per_block - 1) / per_block;
    const int64_t n_items = n_blocks * n_panels;
    out.push_back(phase(c.level.linear, a, n_items, claim(c, n_items, panel_bytes, std::min(n_rows, a.block_rows)),
                        c.level.linear_scratch(a), own ? c.level.linear_begin : nullptr));
}

void emit_experts(Context& c, ExpertArgs a, Program& out) {
    const int32_t busiest = std::min(a.n, a.n_experts), n_rows = a.n + 3 * busiest;
    a.order = reinterpret_cast<int32_t*>(c.order.get(4 * static_cast<size_t>(a.n + 3 * (a.n_experts + 1))));
    a.acts = c.acts.get(c.level.acts_bytes(n_rows, a.cols, 1u << a.kind));
    out.push_back(phase(c.level.expert_order, a, 1, 1));
    out.push_back(phase(c.level.expert_prepare, a, busiest, 1));
    const int64_t n_items = busiest * panels(a.rows);
    out.push_back(phase(c.level.expert, a, n_items, claim(c, n_items, a.panel_bytes, a.n / busiest),
                        c.level.expert_scratch(a), nullptr, c.level.expert_count));
}

void emit_lora(Context& c, LoraArgs a, Program& out) {
    const int64_t n_groups = (a.n + kLoraGroup - 1) / kLoraGroup;
    a.n_splits = n_groups * a.n_targets < 8 * c.pool.n_threads() ? kRankSplits : 1;
    int64_t n_chunks = 0;
    for (int t = 0; t < a.n_targets; ++t) n_chunks += (a.targets[t].rows + kLoraOutputs - 1) / kLoraOutputs;
    emit_items(c, c.level.lora_inner, a, n_groups * a.n_targets * a.n_splits, 1, out);
    emit_items(c, c.level.lora_outer, a, n_groups * n_chunks, 1, out);
}

void emit_embedding(Context& c, const EmbeddingArgs& a, int64_t n, Program& out) {
    out.push_back(phase(c.level.embedding, a, n, 1, c.level.embedding_scratch(a)));
}

void emit_attention(Context& c, AttentionArgs a, int64_t n, Program& out) {
    a.one_token = n == a.n_seqs;
    a.n_splits = (a.max_pages * 16 + kSplit - 1) / kSplit;
    a.n_parts = 1;
    const int32_t n_rep = a.n_heads / a.n_kv_heads;
    while (n_rep % a.n_parts || n_rep / a.n_parts > kGroupHeads) ++a.n_parts;
    const int64_t n_heads = static_cast<int64_t>(a.n_seqs) * a.n_kv_heads * a.n_parts;
    if (!a.one_token) {
        const int64_t n_items = (n / kQueryTile + a.n_seqs) * a.n_kv_heads * a.n_parts;
        out.push_back(phase(c.level.attention, a, n_items, 1, c.level.attention_scratch(a)));
        return;
    }
    const int64_t n_items = n_heads * a.n_splits;
    a.partial = reinterpret_cast<float*>(c.partial.get(c.level.state_bytes(a) * static_cast<size_t>(n_items)));
    out.push_back(phase(c.level.attention, a, n_items, 1, c.level.attention_scratch(a), nullptr, c.level.split_count));
    if (a.n_splits > 1) out.push_back(phase(c.level.attention_merge, a, n_heads, 1));
}

void emit_short_conv(Context& c, ShortConvArgs a, Program& out) {
    a.one_token = a.n == a.seqs.n;
    const int64_t n_blocks = (a.channels + kConvChannels - 1) / kConvChannels;
    emit_items(c, c.level.short_conv, a, a.n * n_blocks, 1, out);
    if (!a.one_token) emit_items(c, c.level.short_conv_state, a, a.seqs.n * n_blocks, 1, out);
}

void emit_ssd_scan(Context& c, const SsdArgs& a, Program& out) {
    out.push_back(phase(c.level.ssd_scan, a, static_cast<int64_t>(a.seqs.n) * a.n_heads, 1, c.level.ssd_scratch(a)));
}

void emit_delta(Context& c, DeltaArgs a, int64_t n, Program& out) {
    a.ready = reinterpret_cast<float*>(c.partial.get(4 * c.level.delta_floats(a) * static_cast<size_t>(n)));
    emit_items(c, c.level.delta_prepare, a, n * a.n_k_heads, 1, out);
    const int64_t n_items = static_cast<int64_t>(a.seqs.n) * a.n_v_heads * ((a.v_dim + kDeltaCols - 1) / kDeltaCols);
    out.push_back(phase(c.level.delta_scan, a, n_items, n_items / (16 * c.pool.n_threads()), c.level.delta_scratch(a)));
}

void emit_pack(Context& c, PackArgs a, Program& out) {
    a.signed_offset = c.level.signed_offset;
    out.push_back(phase(pack_panels, a, panels(a.rows), 8));
}

template <class Args> void emit_items(Context& c, RunFn run, const Args& args, int64_t n_items, int64_t grain, Program& out) {
    grain = std::max(grain, n_items / (16 * c.pool.n_threads()));
    out.push_back(phase(run, args, n_items, grain));
}

template void emit_items(Context&, RunFn, const NormArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const LayerNormArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const PointArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const GatherArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const ConcatArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const AnglesArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const RopeStoreArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const RouteArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const CombineArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const ShortConvArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const SelectiveArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const TopKArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const MaskedArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const EncodeArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const DeltaArgs&, int64_t, int64_t, Program&);
template void emit_items(Context&, RunFn, const LoraArgs&, int64_t, int64_t, Program&);

}  // namespace gristmill
