// What a level, the kernels compiled for one instruction set, offers: the functions of all phases.
#pragma once
#include "args.h"
#include "phase.h"

namespace gristmill {

struct Level {
    const char* name;
    int32_t big_tile;                               // tokens of the largest matmul tile
    int32_t signed_offset;                          // what the products want signed codes to be higher by
    int64_t (*padded_rows)(int32_t n);              // rows that n tokens take when they are prepared
    int64_t (*tiles)(int32_t n);                    // and the tiles that they make
    size_t (*acts_bytes)(int32_t rows, int32_t cols, uint32_t kinds);   // memory of that many prepared rows
    size_t (*state_bytes)(const AttentionArgs&);    // of one partial state
    size_t (*linear_scratch)(const LinearArgs&);
    size_t (*expert_scratch)(const ExpertArgs&);
    size_t (*embedding_scratch)(const EmbeddingArgs&);
    size_t (*attention_scratch)(const AttentionArgs&);
    size_t (*ssd_scratch)(const SsdArgs&);
    size_t (*delta_scratch)(const DeltaArgs&);
    size_t (*delta_floats)(const DeltaArgs&);       // of what is ready of one token
    CountFn split_count, expert_count;              // items of attention with one_token, and of expert
    BeginFn linear_begin;
    RunFn linear_prepare, linear;
    RunFn expert_order, expert_prepare, expert;
    RunFn lora_inner, lora_outer;
    RunFn short_conv, short_conv_state, ssd_scan, selective_scan;
    RunFn embedding, norm, layer_norm, point, gather, concat, angles, rope_store, attention, attention_merge, route, combine,
        top_k, masked, encode;
    RunFn delta_prepare, delta_scan;
};

extern const Level level_portable, level_avx2, level_avx512, level_avx512_vnni, level_avx512_bf16;
extern const Level level_neon, level_neon_dotprod, level_neon_i8mm;

}  // namespace gristmill
