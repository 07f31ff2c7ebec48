// Paged attention with an online softmax (Milakov and Gimelshein, arXiv:1805.02867; FlashAttention).
//
// Keys are taken in blocks of 64 and splits of 512 that begin at absolute positions. A split is summed by itself, and
// splits are merged in their order, so a query's result is the same whether splits ran on one thread or on many,
// and however the prompt was cut into chunks.
#pragma once

namespace gristmill { namespace GM_LEVEL {

constexpr int kKeys = 64, kSplit = 512, kQueryTile = 8;
constexpr float kLowest = -1e30f;   // a maximum before any key was seen; finite, so that differences stay numbers

static inline int padded16(int n) { return (n + 15) / 16 * 16; }
static inline int padded4(int n) { return (n + 3) / 4 * 4; }

// Queries of one KV head, or of a part of the heads that share it: rows are (token, head), padded to 4.
struct QueryTile {
    int n_rows, padded;             // n_tokens * n_rep
    int first_position, n_rep;
    const int32_t* pages;           // of the sequence
    int kv_head, first_head;
    int before, after;              // how many keys a query sees to either side
    int end;                        // of the sequence's keys
    int chunk;                      // 0: there are none
    int position(int row) const { return first_position + row / n_rep; }
    int first_key(int row) const {
        if (chunk) return position(row) / chunk * chunk;
        return position(row) > before ? position(row) - before : 0;
    }
    int head(int row) const { return first_head + row % n_rep; }
    int last_key(int row) const { return position(row) < end - after ? position(row) + after : end - 1; }
    int oldest() const { return first_key(0); }
    int newest() const { return last_key(n_rows - 1); }
};

struct State {                      // of the rows over some keys: highest score, sum of weights, weighted values
    float* best;
    float* total;
    float* out;                     // (padded rows, v_dim padded to 16)
    int stride;
    State(float* p, int rows, int v_dim) : best(p), total(p + rows), out(p + 2 * rows), stride(padded16(v_dim)) {}
    static size_t floats(int rows, int v_dim) { return static_cast<size_t>(rows) * (2 + padded16(v_dim)); }
    void clear(int rows) const {
        for (int r = 0; r < rows; ++r) best[r] = kLowest, total[r] = 0.0f;
        for (int i = 0; i < rows * stride; i += 16) store_f(out + i, set_f(0.0f));
    }
};

struct AttentionScratch {
    float* queries;                 // (k_dim, padded rows)
    float* scores;                  // (padded rows, 64)
    float* states[2];
    float* values;                  // (64, v_dim), where the keys hold them
    AttentionScratch(uint8_t* p, int rows, const AttentionArgs& a) {
        queries = reinterpret_cast<float*>(p);
        scores = queries + static_cast<size_t>(rows) * padded16(a.k_dim);
        states[0] = scores + static_cast<size_t>(rows) * kKeys;
        states[1] = states[0] + State::floats(rows, a.v_dim);
        values = states[1] + State::floats(rows, a.v_dim);
    }
    static size_t bytes(int rows, const AttentionArgs& a) {
        const size_t values = a.shared ? static_cast<size_t>(kKeys) * a.v_dim : 0;
        return 4 * (static_cast<size_t>(rows) * (padded16(a.k_dim) + kKeys) + 2 * State::floats(rows, a.v_dim) + values);
    }
};

static inline int n_groups(const AttentionArgs& a) { return a.n_kv_heads * a.n_parts; }     // heads served together
static inline int tile_rows(const AttentionArgs& a) {
    return padded4((a.one_token ? 1 : kQueryTile) * (a.n_heads / n_groups(a)));
}
static size_t attention_scratch(const AttentionArgs& a) { return AttentionScratch::bytes(tile_rows(a), a); }

// Where the keys or values of a block lie, and those of the block after it: pages are scattered, so the processor's
// own prefetching does not see them come. Where kFetch, what is read now is fetched from the block after.
struct BlockPages {
    const uint8_t* now[4];
    const uint8_t* next[4];
};

// Scores of kR rows from row r against kP pages from page first on.
template <class Kv, int kR, int kP, bool kFetch>
static inline void score_pages(const BlockPages& pages, int first, const float* q, int padded, int k_dim, float* scores) {
    F acc[kR][kP];
    for (int r = 0; r < kR; ++r)
        for (int p = 0; p < kP; ++p) acc[r][p] = set_f(0.0f);
    for (int i = 0; i < k_dim; ++i, q += padded) {
        F k[kP];
        for (int p = 0; p < kP; ++p) {
            if (kFetch) __builtin_prefetch(pages.next[first + p] + Kv::k_at(i));
            k[p] = Kv::load_k(pages.now[first + p], i, k_dim);
        }
        for (int r = 0; r < kR; ++r)
            for (int p = 0; p < kP; ++p) acc[r][p] = fma(k[p], set_f(q[r]), acc[r][p]);
    }
    for (int r = 0; r < kR; ++r)
        for (int p = 0; p < kP; ++p) store_f(scores + r * kKeys + 16 * p, acc[r][p]);
}

alignas(64) constexpr float kRamp[kKeys] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

// Takes off a row's scores what its head's slope takes for each key further away (ALiBi, Press et al.,
// arXiv:2108.12409). The first key is `ahead` of the row, which it mostly is not.
static inline void lean(float* scores, float slope, int ahead) {
    for (int i = 0; i < kKeys; i += 16) {
        F apart = add(load_f(kRamp + i), set_f(static_cast<float>(ahead)));
        store_f(scores + i, fma(set_f(slope), sub(set_f(0.0f), abs(apart)), load_f(scores + i)));
    }
}

// Turns a row's scores into weights; returns by how much what was summed so far fades.
static inline float soften(const AttentionArgs& a, float* scores, int first, int last, float& best, float& total) {
    F s[kKeys / 16];
    F highest = set_f(-__builtin_inff());
    for (int p = 0; p < kKeys / 16; ++p) {
        s[p] = mul(load_f(scores + 16 * p), set_f(a.scale));
        if (a.softcap != 0.0f) s[p] = mul(tanh_f(div(s[p], set_f(a.softcap))), set_f(a.softcap));
        s[p] = keep(s[p], first - 16 * p, last - 16 * p, -__builtin_inff());
        highest = max(highest, s[p]);
    }
    float now = max_f(highest);
    now = now > best ? now : best;
    F sum = set_f(0.0f);
    for (int p = 0; p < kKeys / 16; ++p) {
        s[p] = exp_f(sub(s[p], set_f(now)));
        store_f(scores + 16 * p, s[p]);
        sum = add(sum, s[p]);
    }
    float fade = now == best ? 1.0f : lane0(exp_f(set_f(best - now)));
    total = total * fade + sum_f(sum);
    best = now;
    return fade;
}

// out (kR rows) += weights (kR, n_keys) times values, kD vectors of 16 elements from element i on.
template <class Kv, int kR, int kD, bool kFetch>
static inline void add_values(const BlockPages& pages, int n_keys, const float* weights, int i, int v_dim, float* out,
                              int stride) {
    F acc[kR][kD];
    for (int r = 0; r < kR; ++r)
        for (int d = 0; d < kD; ++d) acc[r][d] = load_f(out + r * stride + i + 16 * d);
    for (int p = 0; 16 * p < n_keys; ++p, weights += 16) {
        const int n_tokens = n_keys - 16 * p < 16 ? n_keys - 16 * p : 16;
        for (int token = 0; token < n_tokens; ++token) {
            F v[kD];
            for (int d = 0; d < kD; ++d) {
                if (kFetch) __builtin_prefetch(pages.next[p] + Kv::v_at(token, i + 16 * d, v_dim));
                v[d] = Kv::load_v(pages.now[p], token, i + 16 * d, v_dim);
            }
            for (int r = 0; r < kR; ++r)
                for (int d = 0; d < kD; ++d) acc[r][d] = fma(v[d], set_f(weights[r * kKeys + token]), acc[r][d]);
        }
    }
    for (int r = 0; r < kR; ++r)
        for (int d = 0; d < kD; ++d) store_f(out + r * stride + i + 16 * d, acc[r][d]);
}

// Of few rows, reading takes longer than computing; many rows read a block several times.
template <class Kv> static void score_block(const AttentionArgs& a, const QueryTile& t, const AttentionScratch& s,
                                            const BlockPages& keys) {
    int r = 0;
    for (; r + 8 <= t.padded; r += 8)
        for (int p = 0; p < 4; p += 2)
            score_pages<Kv, 8, 2, false>(keys, p, s.queries + r, t.padded, a.k_dim, s.scores + r * kKeys + 16 * p);
    if (r == t.padded) return;
    const float* q = s.queries + r;
    float* scores = s.scores + r * kKeys;
    switch (t.n_rows - r) {         // no work for rows that only fill up
        case 1: return score_pages<Kv, 1, 4, true>(keys, 0, q, t.padded, a.k_dim, scores);
        case 2: return score_pages<Kv, 2, 4, true>(keys, 0, q, t.padded, a.k_dim, scores);
        case 3: return score_pages<Kv, 3, 4, true>(keys, 0, q, t.padded, a.k_dim, scores);
        default: return score_pages<Kv, 4, 4, true>(keys, 0, q, t.padded, a.k_dim, scores);
    }
}

// All of at most 4 rows; returns the first element that is left to do.
template <class Kv, int kR> static int add_few(const BlockPages& values, int n_keys, const float* weights, int v_dim,
                                               State state) {
    int i = 0;
    for (; i + 64 <= v_dim; i += 64)
        add_values<Kv, kR, 4, true>(values, n_keys, weights, i, v_dim, state.out, state.stride);
    return i;
}

template <class Kv> static void add_block(const AttentionArgs& a, const QueryTile& t, const AttentionScratch& s,
                                          const BlockPages& values, int n_keys, State state) {
    for (int r = 0; r < t.padded; r += 4) {
        float *weights = s.scores + r * kKeys, *out = state.out + r * state.stride;
        int i = 0;
        switch (t.n_rows) {
            case 1: i = add_few<Kv, 1>(values, n_keys, weights, a.v_dim, state); break;
            case 2: i = add_few<Kv, 2>(values, n_keys, weights, a.v_dim, state); break;
            case 3: i = add_few<Kv, 3>(values, n_keys, weights, a.v_dim, state); break;
            case 4: i = add_few<Kv, 4>(values, n_keys, weights, a.v_dim, state); break;
        }
        for (; i + 64 <= a.v_dim; i += 64) add_values<Kv, 4, 4, false>(values, n_keys, weights, i, a.v_dim, out, state.stride);
        for (; i < a.v_dim; i += 16) add_values<Kv, 4, 1, false>(values, n_keys, weights, i, a.v_dim, out, state.stride);
    }
}

// The last v_dim elements of the keys of a page, as a page of float values (16 tokens, v_dim).
template <class Kv> static void values_of_keys(const AttentionArgs& a, const uint8_t* keys, float* values) {
    alignas(64) float lanes[16 * 16];
    for (int i = 0; i < a.v_dim; i += 16) {
        const int n = a.v_dim - i < 16 ? a.v_dim - i : 16, at = a.k_dim - a.v_dim + i;
        for (int j = 0; j < n; ++j) store_f(lanes + 16 * j, Kv::load_k(keys, at + j, a.k_dim));
        for (int token = 0; token < 16; ++token)
            for (int j = 0; j < n; ++j) values[token * a.v_dim + i + j] = lanes[16 * j + token];
    }
}

template <class Kv> static void add_shared(const AttentionArgs& a, const QueryTile& t, const AttentionScratch& s,
                                           const BlockPages& keys, int n_keys, State state) {
    BlockPages values;
    for (int p = 0; p < 4; ++p) {
        float* page = s.values + p * 16 * a.v_dim;
        values.now[p] = values.next[p] = reinterpret_cast<const uint8_t*>(page);
        if (16 * p < n_keys) values_of_keys<Kv>(a, keys.now[p], page);
    }
    add_block<PlainKv<KvF32>>(a, t, s, values, n_keys, state);
}

// One block of 64 keys from `block` on.
template <class Kv> static void attend_block(const AttentionArgs& a, const QueryTile& t, const AttentionScratch& s,
                                             int block, State state) {
    const uint8_t* k_head = a.k_cache + t.kv_head * Kv::head_bytes(a.k_dim);     // in page 0
    const uint8_t* v_head = a.v_cache + t.kv_head * Kv::head_bytes(a.v_dim);
    const int last = t.newest() + 1 - block, n_keys = last < kKeys ? last : kKeys;
    BlockPages keys, values;
    for (int p = 0; p < 4; ++p) {   // pages past the end are never looked at: another stands for them
        const int here = block / 16 + (16 * p < n_keys ? p : 0), after = 16 * p + kKeys < last ? block / 16 + 4 + p : here;
        const int64_t now = t.pages[here], next = t.pages[after];
        keys.now[p] = k_head + now * a.k_page, keys.next[p] = k_head + next * a.k_page;
        values.now[p] = v_head + now * a.v_page, values.next[p] = v_head + next * a.v_page;
    }
    score_block<Kv>(a, t, s, keys);
    int r = 0;
    for (; r < t.n_rows; ++r) {
        const int first = t.first_key(r) - block, last_seen = t.last_key(r) + 1 - block;
        // Scores are scaled after this, so the slope is divided by the scale.
        if (a.slopes) lean(s.scores + r * kKeys, a.slopes[t.head(r)] / a.scale, block - t.position(r));
        float fade = soften(a, s.scores + r * kKeys, first, last_seen, state.best[r], state.total[r]);
        if (fade != 1.0f)
            for (int i = 0; i < state.stride; i += 16)
                store_f(state.out + r * state.stride + i, mul(load_f(state.out + r * state.stride + i), set_f(fade)));
    }
    for (; r < t.padded; ++r)
        for (int p = 0; p < 4; ++p) store_f(s.scores + r * kKeys + 16 * p, set_f(0.0f));
    if (a.shared) add_shared<Kv>(a, t, s, keys, n_keys, state);
    else add_block<Kv>(a, t, s, values, n_keys, state);
}

// Keys of one split. Windows cut off what lies wholly before them.
template <class Kv> static void attend_split(const AttentionArgs& a, const QueryTile& t, const AttentionScratch& s,
                                             int split, State state) {
    state.clear(t.padded);
    int first = split * kSplit, end = first + kSplit;
    if (t.oldest() > first) first = t.oldest() / kKeys * kKeys;
    if (end > t.newest() + 1) end = t.newest() + 1;
    for (int block = first; block < end; block += kKeys) attend_block<Kv>(a, t, s, block, state);
}

// total = total and more, row by row.
static void merge(State total, State more, int n_rows, int v_dim) {
    for (int r = 0; r < n_rows; ++r) {
        float best = total.best[r] > more.best[r] ? total.best[r] : more.best[r];
        F x = exp_f(set_f(total.best[r] - best)), y = exp_f(set_f(more.best[r] - best));
        total.best[r] = best;
        total.total[r] = total.total[r] * lane0(x) + more.total[r] * lane0(y);
        for (int i = 0; i < padded16(v_dim); i += 16) {
            float* out = total.out + r * total.stride + i;
            store_f(out, fma(load_f(more.out + r * more.stride + i), y, mul(load_f(out), x)));
        }
    }
}

static void load_queries(const AttentionArgs& a, const QueryTile& t, int row, float* queries) {
    for (int r = 0; r < t.padded; ++r) {
        const float* q = a.q + (static_cast<int64_t>(row + r / t.n_rep) * a.n_heads + t.head(r)) * a.k_dim;
        for (int i = 0; i < a.k_dim; ++i) queries[i * t.padded + r] = r < t.n_rows ? q[i] : 0.0f;
    }
}

static void write_heads(const AttentionArgs& a, const QueryTile& t, int row, State state) {
    for (int r = 0; r < t.n_rows; ++r) {
        float* out = a.out + (static_cast<int64_t>(row + r / t.n_rep) * a.n_heads + t.head(r)) * a.v_dim;
        F total = set_f(state.total[r]), factor = set_f(1.0f);
        if (a.sinks) {      // its weight joins the sum, nothing joins the values
            const float sink = a.sinks[t.head(r)], best = state.best[r] > sink ? state.best[r] : sink;
            factor = exp_f(set_f(state.best[r] - best));
            total = add(mul(total, factor), exp_f(set_f(sink - best)));
        }
        for (int i = 0; i < a.v_dim; i += 16) {
            F y = div(mul(load_f(state.out + r * state.stride + i), factor), total);
            store_part(out + i, y, a.v_dim - i < 16 ? a.v_dim - i : 16);
        }
    }
}

static QueryTile query_tile(const AttentionArgs& a, int seq, int row, int n_tokens, int group) {
    int n_rep = a.n_heads / n_groups(a), n_rows = n_tokens * n_rep;
    int first = a.context_lens[seq] - (a.seq_starts[seq + 1] - row);
    const int32_t* pages = a.page_table + static_cast<int64_t>(seq) * a.max_pages;
    const int end = a.context_lens[seq], all = end;     // so many keys to one side are as good as no limit
    const int before = !a.window ? all : a.causal ? a.window - 1 : a.window / 2;
    const int after = a.causal ? 0 : a.window ? a.window / 2 : all;
    return {n_rows, padded4(n_rows), first, n_rep, pages, group / a.n_parts, group * n_rep, before, after, end, a.chunk};
}

// Items: tiles of a sequence's tokens, by group of heads.
template <class Kv> static void attend_tiles(const AttentionArgs& a, Scratch scratch, int64_t first, int64_t last) {
    AttentionScratch s(scratch.data, tile_rows(a), a);
    for (int64_t item = first; item < last; ++item) {
        int tile = static_cast<int>(item / n_groups(a)), seq = 0;
        auto n_tiles = [&](int i) { return (a.seq_starts[i + 1] - a.seq_starts[i] + kQueryTile - 1) / kQueryTile; };
        while (seq < a.n_seqs && tile >= n_tiles(seq)) tile -= n_tiles(seq++);
        if (seq == a.n_seqs) return;    // the number of items is an upper bound
        int row = a.seq_starts[seq] + tile * kQueryTile, left = a.seq_starts[seq + 1] - row;
        QueryTile t = query_tile(a, seq, row, left < kQueryTile ? left : kQueryTile, static_cast<int>(item % n_groups(a)));
        load_queries(a, t, row, s.queries);
        State total(s.states[0], t.padded, a.v_dim), more(s.states[1], t.padded, a.v_dim);
        const int begin = t.oldest() / kSplit;
        attend_split<Kv>(a, t, s, begin, total);
        for (int split = begin + 1; split * kSplit <= t.newest(); ++split) {
            attend_split<Kv>(a, t, s, split, more);
            merge(total, more, t.n_rows, a.v_dim);
        }
        write_heads(a, t, row, total);
    }
}

static int64_t split_count(const void* args) {
    const AttentionArgs& a = *static_cast<const AttentionArgs*>(args);
    int longest = 0;
    for (int i = 0; i < a.n_seqs; ++i) longest = a.context_lens[i] > longest ? a.context_lens[i] : longest;
    return static_cast<int64_t>((longest + kSplit - 1) / kSplit) * a.n_seqs * n_groups(a);
}

// Items: (split, sequence, group of heads) where every sequence has one token; merged by attention_merge.
template <class Kv> static void attend_splits(const AttentionArgs& a, Scratch scratch, int64_t first, int64_t last) {
    AttentionScratch s(scratch.data, tile_rows(a), a);
    for (int64_t item = first; item < last; ++item) {
        const int n_tiles = a.n_seqs * n_groups(a);
        int split = static_cast<int>(item / n_tiles), at = static_cast<int>(item % n_tiles), seq = at / n_groups(a);
        QueryTile t = query_tile(a, seq, seq, 1, at % n_groups(a));
        int begin = t.oldest() / kSplit;
        if (split < begin || split * kSplit > t.newest()) continue;
        load_queries(a, t, seq, s.queries);
        bool only = begin * kSplit + kSplit > t.newest();
        float* memory = only ? s.states[0] : a.partial + item * static_cast<int64_t>(State::floats(t.padded, a.v_dim));
        State state(memory, t.padded, a.v_dim);
        attend_split<Kv>(a, t, s, split, state);
        if (only) write_heads(a, t, seq, state);
    }
}

static void attention_merge(const void* args, Scratch, int64_t first, int64_t last) {
    const AttentionArgs& a = *static_cast<const AttentionArgs*>(args);
    for (int64_t at = first; at < last; ++at) {
        int seq = static_cast<int>(at / n_groups(a));
        QueryTile t = query_tile(a, seq, seq, 1, static_cast<int>(at % n_groups(a)));
        int begin = t.oldest() / kSplit;
        if (begin * kSplit + kSplit > t.newest()) continue;
        auto state = [&](int split) {
            int64_t item = static_cast<int64_t>(split) * a.n_seqs * n_groups(a) + at;
            return State(a.partial + item * static_cast<int64_t>(State::floats(t.padded, a.v_dim)),
                         t.padded, a.v_dim);
        };
        for (int split = begin + 1; split * kSplit <= t.newest(); ++split)
            merge(state(begin), state(split), t.n_rows, a.v_dim);
        write_heads(a, t, seq, state(begin));
    }
}

template <class Kv> static void attend(const AttentionArgs& a, Scratch scratch, int64_t first, int64_t last) {
    if (a.one_token) attend_splits<Kv>(a, scratch, first, last);
    else attend_tiles<Kv>(a, scratch, first, last);
}

static void attention(const void* args, Scratch scratch, int64_t first, int64_t last) {
    const AttentionArgs& a = *static_cast<const AttentionArgs*>(args);
    switch (a.kv_type) {
        case kF32: return attend<PlainKv<KvF32>>(a, scratch, first, last);
        case kF16: return attend<PlainKv<KvF16>>(a, scratch, first, last);
        case kBf16: return attend<PlainKv<KvBf16>>(a, scratch, first, last);
        case kQ8: return attend<Q8Kv>(a, scratch, first, last);
        case kQ4: return attend<Q4Kv>(a, scratch, first, last);
    }
}

}}  // namespace gristmill::GM_LEVEL
