// Rope, the cache and attention: every cache type, odd contexts, windows, one token and many.
#include "check.h"

namespace gristmill {

namespace {

struct Shape {
    KvType type;
    int dim, n_heads, n_kv_heads, context, n_new, window;
    float softcap;
    bool causal;
};

int64_t head_bytes(KvType type, int dim) {
    return type == kF32 ? 64 * dim : type == kQ8 ? 17 * dim : type == kQ4 ? 9 * dim : 32 * dim;
}

// A sequence of s.context tokens goes through the cache; the outputs of its last s.n_new tokens.
Floats attend(Context& c, const Shape& s, Data data) {
    const int n = s.context, n_pages = (n + 15) / 16;
    const int64_t q_row = s.n_heads * s.dim, k_row = s.n_kv_heads * s.dim;
    Floats q = data.floats(n * q_row), k = data.floats(n * k_row), v = data.floats(n * k_row), turned(n * q_row);
    Floats cos = data.floats(static_cast<size_t>(n) * s.dim / 2), sin = data.floats(cos.size()), norm = data.floats(s.dim);
    std::vector<int32_t> pages;
    for (int i = 0; i < n_pages; ++i) pages.push_back((i * 7 + 3) % n_pages);
    for (int i = 0; i < n_pages && n_pages % 7 == 0; ++i) pages[i] = n_pages - 1 - i;
    std::vector<int64_t> slots;
    for (int i = 0; i < n; ++i) slots.push_back(static_cast<int64_t>(pages[i / 16]) * 16 + i % 16);
    Bytes k_cache(n_pages * s.n_kv_heads * head_bytes(s.type, s.dim), 255), v_cache(k_cache.size(), 255);
    RopeStoreArgs r{};
    r.q = q.data(), r.k = k.data(), r.v = v.data(), r.q_stride = q_row, r.k_stride = r.v_stride = k_row, r.v_head = s.dim;
    r.cos = cos.data(), r.sin = sin.data(), r.q_norm = r.k_norm = norm.data(), r.slots = slots.data();
    r.k_cache = k_cache.data(), r.v_cache = v_cache.data(), r.q_out = turned.data(), r.eps = 1e-6f;
    r.n_heads = s.n_heads, r.n_kv_heads = s.n_kv_heads, r.k_dim = r.v_dim = s.dim, r.half = s.dim / 2;
    r.interleaved = s.context % 2, r.norm_last = s.context % 3 == 0, r.kv_type = s.type;
    r.k_page = r.v_page = s.n_kv_heads * head_bytes(s.type, s.dim);
    Program program;
    emit_items(c, c.level.rope_store, r, static_cast<int64_t>(n) * s.n_kv_heads, 1, program);
    Floats out(s.n_new * q_row);
    std::vector<int32_t> starts{0, s.n_new}, lengths{n};
    AttentionArgs a{};
    a.q = turned.data() + (n - s.n_new) * q_row;
    a.k_cache = k_cache.data(), a.v_cache = v_cache.data(), a.seq_starts = starts.data(), a.page_table = pages.data();
    a.context_lens = lengths.data(), a.out = out.data(), a.scale = 0.2f, a.softcap = s.softcap, a.window = s.window;
    a.n_seqs = 1, a.max_pages = n_pages, a.n_heads = s.n_heads, a.n_kv_heads = s.n_kv_heads, a.k_dim = a.v_dim = s.dim;
    a.kv_type = s.type, a.k_page = r.k_page, a.v_page = r.v_page, a.causal = s.causal;
    emit_attention(c, a, s.n_new, program);
    run(c, program);
    return out;
}

}  // namespace

void test_attention(Context& level, Context& portable, Report& report) {
    for (KvType type : {kF32, kF16, kBf16, kQ8, kQ4})
        for (int dim : {24, 32, 64})
            for (int context : {1, 15, 17, 64, 65, 513, 1100})
                for (int window : {0, 1, 33, 600}) {
                    if (type >= kQ8 && dim % 32) continue;
                    for (int n_new : {1, context < 13 ? context : 13, -1}) {     // -1: all of them, none causal
                        const bool causal = n_new > 0;
                        if (!causal && (context > 600 || dim != 32)) continue;
                        if (!causal) n_new = context;
                        Shape s{type, dim, 6, 2, context, n_new, window, window == 33 ? 5.0f : 0.0f, causal};
                        std::string what = std::string(level.level.name) + " attention type " + std::to_string(type) +
                                           " dim " + std::to_string(dim) + " context " + std::to_string(context) +
                                           " window " + std::to_string(window) + " new " + std::to_string(n_new) + (causal ? "" : " both ways");
                        Data data;
                        report.check(same(attend(level, s, data), attend(portable, s, data)), what);
                    }
                }
}

}  // namespace gristmill
