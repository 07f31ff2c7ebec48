// Low-rank additions (Hu et al., arXiv:2106.09685): inner = A x, then out += B inner, with the matrices of each row's
// adapter. Every number is summed in one order, whatever the other rows of the step are.
#pragma once

namespace gristmill { namespace GM_LEVEL {

constexpr int kLoraGroup = 4;       // rows of an item
constexpr int kLoraOutputs = 64;    // and outputs, in lora_outer
constexpr int kRankTile = 4;        // ranks are padded to a multiple of it

static inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Rows that have one adapter and one expert: [row, row + n).
struct LoraRun {
    int row, n;
    int64_t adapter, expert;
};

// The run that begins at row, and ends before end.
static inline LoraRun lora_run(const LoraArgs& a, int row, int end) {
    LoraRun run{row, 1, a.adapter_ids[row / a.rows_per_token], a.experts ? a.experts[row] : 0};
    for (int i = row + 1; i < end; ++i, ++run.n)
        if (a.adapter_ids[i / a.rows_per_token] != run.adapter || (a.experts && a.experts[i] != run.expert)) break;
    return run;
}

// Calls work(run, matrices) for the rows of a group that have an adapter, and that adds to this target.
template <class Work> static inline void lora_runs(const LoraArgs& a, int target, int64_t group, Work work) {
    const int first = static_cast<int>(group) * kLoraGroup, end = first + kLoraGroup < a.n ? first + kLoraGroup : a.n;
    for (int row = first; row < end;) {
        LoraRun run = lora_run(a, row, end);
        row += run.n;
        if (run.adapter < 0) continue;
        const LowRank& matrices = a.targets[target].adapters[run.adapter];
        if (matrices.rank) work(run, matrices);
    }
}

static inline float* lora_room(const LoraArgs& a, int row, int target) {
    return a.inner + (static_cast<int64_t>(row) * a.n_targets + target) * a.max_rank;
}

template <bool halves> static inline F load_weights(const uint8_t* p, int64_t i) {
    if constexpr (halves) return load_f16(p + 2 * i);
    else return load_f(reinterpret_cast<const float*>(p) + i);
}

// Where the matrices of an expert begin in a stack.
static inline const uint8_t* lora_part(const uint8_t* stack, const LowRank& m, int64_t expert, int64_t size) {
    return stack + expert * m.rank * size * (m.halves ? 2 : 4);
}

// inner of one or two rows: the ranks of one split.
template <int n_rows, bool halves> static inline void lora_dots(const LoraArgs& a, int row, int target, int64_t n_ranks,
                                                                const uint8_t* m, int split) {
    const float *x0 = a.x + row / a.rows_per_input * a.x_stride, *x1 = a.x + (row + n_rows - 1) / a.rows_per_input * a.x_stride;
    RowReader first(x0, a.norm, a.cols, a.eps), second(x1, n_rows > 1 ? a.norm : nullptr, a.cols, a.eps);
    const int64_t stride = round_up(a.cols, 16);
    for (int64_t rank = split * kRankTile; rank < n_ranks; rank += a.n_splits * kRankTile) {
        F acc[n_rows][kRankTile];
        for (int k = 0; k < kRankTile; ++k)
            for (int r = 0; r < n_rows; ++r) acc[r][k] = set_f(0.0f);
        for (int i = 0; i < a.cols; i += 16) {
            F x[2] = {first(i), n_rows > 1 ? second(i) : set_f(0.0f)};
            for (int k = 0; k < kRankTile; ++k) {
                F w = load_weights<halves>(m, rank * stride + i * kRankTile + 16 * k);
                for (int r = 0; r < n_rows; ++r) acc[r][k] = fma(x[r], w, acc[r][k]);
            }
        }
        for (int r = 0; r < n_rows; ++r)
            for (int k = 0; k < kRankTile; ++k) lora_room(a, row + r, target)[rank + k] = sum_f(acc[r][k]);
    }
}

// inner of an embedding: a row of A. An id that is not one adds nothing to what is NaN already.
static inline void lora_look_up(const LoraArgs& a, int row, int target, const LowRank& m) {
    const int64_t id = a.ids[row];
    float* inner = lora_room(a, row, target);
    const bool known = id >= 0 && id < a.cols;
    for (int64_t k = 0; k < m.rank; ++k) {
        const int64_t at = id * m.rank + k;
        inner[k] = !known ? 0.0f : m.halves ? f16_at(m.a + 2 * at) : reinterpret_cast<const float*>(m.a)[at];
    }
}

template <bool halves> static inline void lora_inner_run(const LoraArgs& a, const LoraRun& run, int target, const LowRank& m,
                                                         int split) {
    const uint8_t* part = lora_part(m.a, m, run.expert, round_up(a.cols, 16));
    int r = 0;
    for (; r + 1 < run.n; r += 2) lora_dots<2, halves>(a, run.row + r, target, m.rank, part, split);
    if (r < run.n) lora_dots<1, halves>(a, run.row + r, target, m.rank, part, split);
}

// Items: for each group of rows and each target, the splits of the ranks.
static void lora_inner(const void* args, Scratch, int64_t first, int64_t last) {
    const LoraArgs& a = *static_cast<const LoraArgs*>(args);
    for (int64_t item = first; item < last; ++item) {
        const int split = static_cast<int>(item % a.n_splits), target = static_cast<int>(item / a.n_splits % a.n_targets);
        lora_runs(a, target, item / a.n_splits / a.n_targets, [&](const LoraRun& run, const LowRank& m) {
            if (a.ids) {
                for (int r = 0; r < run.n && !split; ++r) lora_look_up(a, run.row + r, target, m);
            } else if (m.halves) {
                lora_inner_run<true>(a, run, target, m, split);
            } else {
                lora_inner_run<false>(a, run, target, m, split);
            }
        });
    }
}

// out of n_rows rows, a panel's 32 outputs from `at` on.
template <int n_rows, bool halves> static inline void lora_sums(const LoraArgs& a, int row, int target, int64_t n_ranks,
                                                                const uint8_t* panel, int at) {
    const LoraTarget& t = a.targets[target];
    F acc[n_rows][2];
    for (int r = 0; r < n_rows; ++r) acc[r][0] = acc[r][1] = set_f(0.0f);
    for (int64_t k = 0; k < n_ranks; ++k) {
        F low = load_weights<halves>(panel, 32 * k), high = load_weights<halves>(panel, 32 * k + 16);
        for (int r = 0; r < n_rows; ++r) {
            F h = set_f(lora_room(a, row + r, target)[k]);
            acc[r][0] = fma(h, low, acc[r][0]);
            acc[r][1] = fma(h, high, acc[r][1]);
        }
    }
    for (int r = 0; r < n_rows; ++r)
        for (int half = 0; half < 2 && at + 16 * half < t.rows; ++half) {
            const int i = at + 16 * half, width = t.rows - i < 16 ? t.rows - i : 16;
            float* y = t.out + (row + r) * t.out_stride + i;
            store_part(y, add(load_part(y, width), acc[r][half]), width);
        }
}

template <bool halves> static inline void lora_outer_run(const LoraArgs& a, const LoraRun& run, int target, const LowRank& m,
                                                         int from) {
    const int rows = a.targets[target].rows;
    const uint8_t* part = lora_part(m.b, m, run.expert, round_up(rows, 32));
    for (int at = from; at < from + kLoraOutputs && at < rows; at += 32) {
        const uint8_t* panel = part + at * m.rank * (halves ? 2 : 4);
        int r = 0;
        if (run.n == kLoraGroup) r = 4, lora_sums<4, halves>(a, run.row, target, m.rank, panel, at);
        for (; r + 1 < run.n; r += 2) lora_sums<2, halves>(a, run.row + r, target, m.rank, panel, at);
        if (r < run.n) lora_sums<1, halves>(a, run.row + r, target, m.rank, panel, at);
    }
}

// Items: for each group of rows, the targets' outputs in chunks of kLoraOutputs.
static void lora_outer(const void* args, Scratch, int64_t first, int64_t last) {
    const LoraArgs& a = *static_cast<const LoraArgs*>(args);
    int64_t n_chunks = 0;
    for (int t = 0; t < a.n_targets; ++t) n_chunks += round_up(a.targets[t].rows, kLoraOutputs) / kLoraOutputs;
    for (int64_t item = first; item < last; ++item) {
        int64_t chunk = item % n_chunks;
        int target = 0;
        while (chunk >= round_up(a.targets[target].rows, kLoraOutputs) / kLoraOutputs)
            chunk -= round_up(a.targets[target++].rows, kLoraOutputs) / kLoraOutputs;
        const int from = static_cast<int>(chunk) * kLoraOutputs;
        lora_runs(a, target, item / n_chunks, [&](const LoraRun& run, const LowRank& m) {
            if (m.halves) lora_outer_run<true>(a, run, target, m, from);
            else lora_outer_run<false>(a, run, target, m, from);
        });
    }
}

}}  // namespace gristmill::GM_LEVEL
