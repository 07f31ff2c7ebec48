// From an operator's arguments to its phases.
#pragma once
#include <memory>

#include "level_table.h"
#include "pool.h"

namespace gristmill {

// Memory that operators share, because one runs at a time. Grows; what was handed out before stays valid, since
// recorded programs hold its address.
class Workspace {
public:
    uint8_t* get(size_t size) {
        if (size > size_ || blocks_.empty()) {
            size_ = size > 2 * size_ ? size : 2 * size_;
            blocks_.emplace_back(new uint8_t[size_ + 64]);
        }
        uint8_t* p = blocks_.back().get();
        return p + (64 - reinterpret_cast<uintptr_t>(p) % 64);
    }

private:
    std::vector<std::unique_ptr<uint8_t[]>> blocks_;
    size_t size_ = 0;
};

struct Context {                    // a level on some threads
    Context(const Level& l, int n_threads) : level(l), pool(n_threads) {}

    const Level& level;
    Pool pool;
    Workspace acts, partial, order;
};

// Each appends the phases of one operator. Fields that name room (acts, partial, order) are filled in here.
void emit_linear(Context&, LinearArgs, Program&);
void emit_experts(Context&, ExpertArgs, Program&);
void emit_lora(Context&, LoraArgs, Program&);
void emit_embedding(Context&, const EmbeddingArgs&, int64_t n, Program&);
void emit_attention(Context&, AttentionArgs, int64_t n, Program&);
void emit_short_conv(Context&, ShortConvArgs, Program&);
void emit_ssd_scan(Context&, const SsdArgs&, Program&);
void emit_delta(Context&, DeltaArgs, int64_t n, Program&);
void emit_pack(Context&, PackArgs, Program&);

// An operator of one phase whose items are alike.
template <class Args> void emit_items(Context& c, RunFn run, const Args& args, int64_t n_items, int64_t grain, Program& out);

}  // namespace gristmill
