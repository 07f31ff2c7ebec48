// The Python module _cpu: methods over addresses. Knows no torch; who calls keeps the tensors alive.
//
// Every operator takes a context, a program or None, and keywords. With None it runs at once, with a program it is
// appended. Python's interpreter lock is released while kernels run.
#include "binding.h"

#include <cstring>

#include "cpu_features.h"
#include "layouts.h"
#include "tables.h"

namespace gristmill {

namespace {

// -- contexts and programs --

PyObject* levels(PyObject*, PyObject*) {
    PyObject* names = PyList_New(0);
    for (const Level* level : usable_levels()) {
        PyObject* name = PyUnicode_FromString(level->name);
        PyList_Append(names, name);
        Py_DECREF(name);
    }
    return names;
}

PyObject* open_context(PyObject*, PyObject* args) {
    PyObject* name_object;
    int n_threads;
    if (!PyArg_ParseTuple(args, "Ui", &name_object, &n_threads)) return nullptr;
    for (const Level* level : usable_levels())
        if (PyUnicode_CompareWithASCIIString(name_object, level->name) == 0)
            return PyCapsule_New(new Context(*level, n_threads), kContextName, destroy<Context>);
    PyErr_Format(PyExc_ValueError, "this processor has no level %U", name_object);
    return nullptr;
}

PyObject* new_program(PyObject*, PyObject*) {
    return PyCapsule_New(new ProgramRef(std::make_shared<Program>()), kProgramName, destroy<ProgramRef>);
}

PyObject* run(PyObject*, PyObject* args) {
    PyObject *context_object, *program_object;
    if (!PyArg_ParseTuple(args, "OO", &context_object, &program_object)) return nullptr;
    Context* context = context_of(context_object);
    auto* program = static_cast<ProgramRef*>(PyCapsule_GetPointer(program_object, kProgramName));
    return context && program ? run_program(*context, *program) : nullptr;
}

// -- weights --

PyObject* kinds(PyObject*, PyObject*) {
    PyObject* names = PyList_New(0);
    for (const Layout& layout : kLayouts) {
        PyObject* name = PyUnicode_FromString(layout.name);
        PyList_Append(names, name);
        Py_DECREF(name);
    }
    return names;
}

PyObject* packed_panel_bytes(PyObject*, PyObject* args) {
    int kind;
    Py_ssize_t cols;
    if (!PyArg_ParseTuple(args, "in", &kind, &cols)) return nullptr;
    return PyLong_FromLongLong(panel_bytes(kind, cols));
}

PyObject* set_table(PyObject*, PyObject* args) {
    int id;
    Py_buffer words;
    if (!PyArg_ParseTuple(args, "iy*", &id, &words)) return nullptr;
    const bool ok = id >= 0 && id < kNumTables && gristmill::set_table(static_cast<Table>(id), words.buf, static_cast<size_t>(words.len));
    PyBuffer_Release(&words);
    if (!ok) {
        PyErr_Format(PyExc_ValueError, "table %d is none of tables.h", id);
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* pack(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "kind", "blocks", "row_bytes", "rows", "cols", "panels",
                                        "panel_bytes", nullptr};
    PyObject *context, *program;
    Py_ssize_t blocks, row_bytes, panels, bytes;
    PackArgs a{};
    if (!parse(args, keywords, "OOinniinn", names, &context, &program, &a.kind, &blocks, &row_bytes, &a.rows, &a.cols,
               &panels, &bytes))
        return nullptr;
    a.blocks = at<const uint8_t>(blocks);
    a.panels = at<uint8_t>(panels);
    a.row_bytes = row_bytes;
    a.panel_bytes = bytes;
    return finish(context, program, [&](Context& c, Program& out) { emit_pack(c, a, out); });
}

PyObject* encode(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "format", "cols", "block_elems", "block_bytes", "x",
                                        "importance", "importance_stride", "out", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, cols, x, importance, stride, out_address;
    EncodeArgs a{};
    if (!parse(args, keywords, "OOniniinnnn", names, &context, &program, &n, &a.format, &cols, &a.block_elems,
               &a.block_bytes, &x, &importance, &stride, &out_address))
        return nullptr;
    if (a.block_elems <= 0 || cols % a.block_elems) {
        PyErr_SetString(PyExc_ValueError, "a row must be whole blocks");
        return nullptr;
    }
    a.x = at<const float>(x);
    a.importance = at<const float>(importance);
    a.out = at<uint8_t>(out_address);
    a.importance_stride = stride;
    a.cols = cols;
    a.row_bytes = cols / a.block_elems * a.block_bytes;
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.encode, a, n, 1, out); });
}

// -- operators --

bool read_matrix(PyObject* item, int cols, Matrix& m) {
    Py_ssize_t data, bias, out, stride;
    if (!PyArg_ParseTuple(item, "ninnni", &data, &m.kind, &bias, &out, &stride, &m.rows)) return false;
    m.data = at<const uint8_t>(data);
    m.bias = at<const float>(bias);
    m.out = at<float>(out);
    m.out_stride = stride;
    m.panel_bytes = panel_bytes(m.kind, cols);
    return true;
}

PyObject* linear(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "cols", "x", "x_stride", "matrices", "norm", "eps",
                                        "residual", "residual_stride", "activation", nullptr};
    PyObject *context, *program, *matrices;
    Py_ssize_t x, x_stride, norm = 0, residual = 0, residual_stride = 0;
    int activation = 0;
    LinearArgs a{};
    if (!parse(args, keywords, "OOiinnO|nfnni", names, &context, &program, &a.n, &a.cols, &x, &x_stride, &matrices,
               &norm, &a.eps, &residual, &residual_stride, &activation))
        return nullptr;
    a.x = at<const float>(x);
    a.x_stride = x_stride;
    a.norm = at<const float>(norm);
    a.residual = at<const float>(residual);
    a.residual_stride = residual_stride;
    a.activation = static_cast<Activation>(activation);
    a.n_matrices = static_cast<int32_t>(PyTuple_Size(matrices));
    if (a.n_matrices < 1 || a.n_matrices > kMaxMatrices) {
        PyErr_Format(PyExc_ValueError, "matrices: a tuple of 1 to %d", kMaxMatrices);
        return nullptr;
    }
    for (int i = 0; i < a.n_matrices; ++i)
        if (!read_matrix(PyTuple_GetItem(matrices, i), a.cols, a.matrices[i])) return nullptr;
    return finish(context, program, [&](Context& c, Program& out) { emit_linear(c, a, out); });
}

PyObject* experts(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "x", "x_stride", "slots", "slot_stride", "experts",
                                        "n_experts", "data", "kind", "rows", "cols", "out", nullptr};
    PyObject *context, *program;
    Py_ssize_t x, x_stride, slot_stride, chosen, data, out_address;
    ExpertArgs a{};
    if (!parse(args, keywords, "OOinninniniiin", names, &context, &program, &a.n, &x, &x_stride, &a.slots, &slot_stride,
               &chosen, &a.n_experts, &data, &a.kind, &a.rows, &a.cols, &out_address))
        return nullptr;
    a.x_stride = x_stride, a.slot_stride = slot_stride;
    a.x = at<const float>(x);
    a.experts = at<const int64_t>(chosen);
    a.data = at<const uint8_t>(data);
    a.out = at<float>(out_address);
    a.panel_bytes = panel_bytes(a.kind, a.cols);
    a.expert_bytes = a.panel_bytes * ((a.rows + 15) / 16);
    return finish(context, program, [&](Context& c, Program& out) { emit_experts(c, a, out); });
}

bool read_lora_target(PyObject* item, LoraTarget& target) {
    Py_ssize_t adapters, out, stride;
    if (!PyArg_ParseTuple(item, "nnni", &adapters, &out, &stride, &target.rows)) return false;
    target.adapters = at<const LowRank>(adapters);
    target.out = at<float>(out);
    target.out_stride = stride;
    return true;
}

PyObject* lora(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "cols", "x", "x_stride", "targets", "adapter_ids", "inner",
                                        "max_rank", "rows_per_input", "rows_per_token", "norm", "eps", "ids", "experts",
                                        nullptr};
    PyObject *context, *program, *targets;
    Py_ssize_t x, x_stride, adapter_ids, inner, norm = 0, ids = 0, experts = 0;
    LoraArgs a{};
    if (!parse(args, keywords, "OOiinnOnniii|nfnn", names, &context, &program, &a.n, &a.cols, &x, &x_stride, &targets,
               &adapter_ids, &inner, &a.max_rank, &a.rows_per_input, &a.rows_per_token, &norm, &a.eps, &ids, &experts))
        return nullptr;
    a.x = at<const float>(x);
    a.x_stride = x_stride;
    a.norm = at<const float>(norm);
    a.ids = at<const int64_t>(ids);
    a.experts = at<const int64_t>(experts);
    a.adapter_ids = at<const int32_t>(adapter_ids);
    a.inner = at<float>(inner);
    a.n_targets = static_cast<int32_t>(PyTuple_Size(targets));
    if (a.n_targets < 1 || a.n_targets > kMaxMatrices) {
        PyErr_Format(PyExc_ValueError, "targets: a tuple of 1 to %d", kMaxMatrices);
        return nullptr;
    }
    for (int i = 0; i < a.n_targets; ++i)
        if (!read_lora_target(PyTuple_GetItem(targets, i), a.targets[i])) return nullptr;
    return finish(context, program, [&](Context& c, Program& out) { emit_lora(c, a, out); });
}

PyObject* embedding(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "ids", "data", "kind", "rows", "cols", "out", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, ids, data, out_address;
    EmbeddingArgs a{};
    if (!parse(args, keywords, "OOnnniiin", names, &context, &program, &n, &ids, &data, &a.kind, &a.rows, &a.cols,
               &out_address))
        return nullptr;
    a.ids = at<const int64_t>(ids);
    a.data = at<const uint8_t>(data);
    a.out = at<float>(out_address);
    a.panel_bytes = panel_bytes(a.kind, a.cols);
    return finish(context, program, [&](Context& c, Program& out) { emit_embedding(c, a, n, out); });
}

PyObject* norm(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "cols", "x", "x_stride", "weight", "eps", "out",
                                        "residual", "residual_stride", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, x, x_stride, weight, out_address, residual = 0, residual_stride = 0;
    NormArgs a{};
    if (!parse(args, keywords, "OOninnnfn|nn", names, &context, &program, &n, &a.cols, &x, &x_stride, &weight, &a.eps,
               &out_address, &residual, &residual_stride))
        return nullptr;
    a.x = at<const float>(x);
    a.x_stride = x_stride;
    a.weight = at<const float>(weight);
    a.residual = at<const float>(residual);
    a.residual_stride = residual_stride;
    a.out = at<float>(out_address);
    a.out_stride = a.cols;
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.norm, a, n, 1, out); });
}

PyObject* layer_norm(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "cols", "x", "x_stride", "weight", "bias", "eps", "out",
                                        nullptr};
    PyObject *context, *program;
    Py_ssize_t n, x, x_stride, weight, bias, out_address;
    LayerNormArgs a{};
    if (!parse(args, keywords, "OOninnnnfn", names, &context, &program, &n, &a.cols, &x, &x_stride, &weight, &bias, &a.eps,
               &out_address))
        return nullptr;
    a.x = at<const float>(x);
    a.x_stride = x_stride;
    a.weight = at<const float>(weight);
    a.bias = at<const float>(bias);
    a.out = at<float>(out_address);
    a.out_stride = a.cols;
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.layer_norm, a, n, 1, out); });
}

PyObject* point(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "op", "n", "cols", "x", "x_stride", "out", "y", "y_stride",
                                        "y_cols", "factor", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, x, x_stride, out_address, y = 0, y_stride = 0;
    int op;
    PointArgs a{};
    if (!parse(args, keywords, "OOininnn|nnif", names, &context, &program, &op, &n, &a.cols, &x, &x_stride, &out_address,
               &y, &y_stride, &a.y_cols, &a.factor))
        return nullptr;
    a.op = static_cast<PointOp>(op);
    a.x = at<const float>(x);
    a.x_stride = x_stride;
    a.y = at<const float>(y);
    a.y_stride = y_stride;
    a.out = at<float>(out_address);
    a.out_stride = a.cols;
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.point, a, n, 1, out); });
}

PyObject* gather(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "cols", "x", "x_stride", "rows", "out", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, x, x_stride, rows, out_address;
    GatherArgs a{};
    if (!parse(args, keywords, "OOninnnn", names, &context, &program, &n, &a.cols, &x, &x_stride, &rows, &out_address))
        return nullptr;
    a.x = at<const float>(x);
    a.x_stride = x_stride;
    a.rows = at<const int64_t>(rows);
    a.out = at<float>(out_address);
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.gather, a, n, 4, out); });
}

PyObject* concat(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "heads", "x", "x_stride", "x_head", "x_cols", "y",
                                        "y_stride", "y_head", "y_cols", "out", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, x, x_stride, x_head, y, y_stride, y_head, out_address;
    ConcatArgs a{};
    if (!parse(args, keywords, "OOninnninnnin", names, &context, &program, &n, &a.heads, &x, &x_stride, &x_head, &a.x_cols,
               &y, &y_stride, &y_head, &a.y_cols, &out_address))
        return nullptr;
    a.x = at<const float>(x), a.y = at<const float>(y);
    a.x_stride = x_stride, a.x_head = x_head, a.y_stride = y_stride, a.y_head = y_head;
    a.out = at<float>(out_address);
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.concat, a, n * a.heads, 4, out); });
}

PyObject* angles(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "half", "positions", "inv_freq", "cos", "sin",
                                        "magnitude", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, positions, inv_freq, cos, sin;
    AnglesArgs a{};
    if (!parse(args, keywords, "OOninnnnf", names, &context, &program, &n, &a.half, &positions, &inv_freq, &cos, &sin,
               &a.magnitude))
        return nullptr;
    a.positions = at<const int64_t>(positions);
    a.inv_freq = at<const double>(inv_freq);
    a.cos = at<float>(cos);
    a.sin = at<float>(sin);
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.angles, a, n, 1, out); });
}

PyObject* rope_store(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {
        "context", "program", "n", "q", "q_stride", "k", "k_stride", "v", "v_stride", "v_head", "cos", "sin", "half", "interleaved",
        "slots", "k_cache", "v_cache", "k_page", "v_page", "kv_type", "q_out", "n_heads", "n_kv_heads", "k_dim", "v_dim",
        "q_norm", "k_norm", "eps", "norm_last", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, q, k, v, q_stride, k_stride, v_stride, v_head, cos, sin, slots, k_cache, v_cache, q_out;
    Py_ssize_t k_page, v_page, q_norm = 0, k_norm = 0;
    int kv_type;
    RopeStoreArgs a{};
    if (!parse(args, keywords, "OOnnnnnnnnnniinnnnniniiii|nnfi", names, &context, &program, &n, &q, &q_stride, &k,
               &k_stride, &v, &v_stride, &v_head, &cos, &sin, &a.half, &a.interleaved, &slots, &k_cache, &v_cache, &k_page,
               &v_page, &kv_type, &q_out, &a.n_heads, &a.n_kv_heads, &a.k_dim, &a.v_dim, &q_norm, &k_norm, &a.eps,
               &a.norm_last))
        return nullptr;
    a.q = at<const float>(q), a.k = at<const float>(k), a.v = at<const float>(v);
    a.q_stride = q_stride, a.k_stride = k_stride, a.v_stride = v_stride, a.v_head = v_head;
    a.cos = at<const float>(cos), a.sin = at<const float>(sin);
    a.q_norm = at<const float>(q_norm), a.k_norm = at<const float>(k_norm);
    a.slots = at<const int64_t>(slots);
    a.k_cache = at<uint8_t>(k_cache), a.v_cache = at<uint8_t>(v_cache);
    a.k_page = k_page, a.v_page = v_page;
    a.q_out = at<float>(q_out);
    a.kv_type = static_cast<KvType>(kv_type);
    if (a.k_dim > kMaxHeadDim || a.v_dim > kMaxHeadDim) {
        PyErr_Format(PyExc_ValueError, "heads of more than %d elements", kMaxHeadDim);
        return nullptr;
    }
    return finish(context, program, [&](Context& c, Program& out) {
        emit_items(c, c.level.rope_store, a, n * a.n_kv_heads, 1, out);
    });
}

PyObject* attention(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {
        "context", "program", "n", "q", "k_cache", "v_cache", "k_page", "v_page", "kv_type", "seq_starts", "page_table",
        "context_lens", "n_seqs", "max_pages", "n_heads", "n_kv_heads", "k_dim", "v_dim", "scale", "window", "softcap",
        "causal", "chunk", "shared", "slopes", "sinks", "out", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, q, k_cache, v_cache, k_page, v_page, starts, table, lens, slopes, sinks, out_address;
    int kv_type;
    AttentionArgs a{};
    if (!parse(args, keywords, "OOnnnnnninnniiiiiififiiinnn", names, &context, &program, &n, &q, &k_cache, &v_cache, &k_page,
               &v_page, &kv_type, &starts, &table, &lens, &a.n_seqs, &a.max_pages, &a.n_heads, &a.n_kv_heads, &a.k_dim,
               &a.v_dim, &a.scale, &a.window, &a.softcap, &a.causal, &a.chunk, &a.shared, &slopes, &sinks, &out_address))
        return nullptr;
    a.slopes = at<const float>(slopes), a.sinks = at<const float>(sinks);
    a.q = at<const float>(q);
    a.k_cache = at<const uint8_t>(k_cache), a.v_cache = at<const uint8_t>(v_cache);
    a.k_page = k_page, a.v_page = v_page;
    a.seq_starts = at<const int32_t>(starts);
    a.page_table = at<const int32_t>(table);
    a.context_lens = at<const int32_t>(lens);
    a.out = at<float>(out_address);
    a.kv_type = static_cast<KvType>(kv_type);
    return finish(context, program, [&](Context& c, Program& out) { emit_attention(c, a, n, out); });
}

PyObject* route(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "logits", "logits_stride", "bias", "n_experts", "n_used",
                                        "gating", "normalize", "n_groups", "n_groups_used", "scale", "weights", "experts",
                                        nullptr};
    PyObject *context, *program;
    Py_ssize_t n, logits, stride, bias, weights, chosen;
    int gating;
    RouteArgs a{};
    if (!parse(args, keywords, "OOnnnniiiiiifnn", names, &context, &program, &n, &logits, &stride, &bias, &a.n_experts,
               &a.n_used, &gating, &a.normalize, &a.n_groups, &a.n_groups_used, &a.scale, &weights, &chosen))
        return nullptr;
    const bool fits = a.n_experts <= kMaxExperts && a.n_groups > 0 && a.n_groups <= kMaxGroups &&
                      a.n_groups_used <= a.n_groups && a.n_experts % a.n_groups == 0 &&
                      a.n_used <= a.n_experts / a.n_groups * a.n_groups_used;
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "these numbers of experts and groups cannot be routed to");
        return nullptr;
    }
    a.gating = static_cast<Gating>(gating);
    a.bias = at<const float>(bias);
    a.logits = at<const float>(logits);
    a.logits_stride = stride;
    a.weights = at<float>(weights);
    a.experts = at<int64_t>(chosen);
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.route, a, n, 1, out); });
}

PyObject* combine(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "n_used", "cols", "y", "weights", "out", nullptr};
    PyObject *context, *program;
    Py_ssize_t n, y, weights, out_address;
    CombineArgs a{};
    if (!parse(args, keywords, "OOniinnn", names, &context, &program, &n, &a.n_used, &a.cols, &y, &weights, &out_address))
        return nullptr;
    a.y = at<const float>(y);
    a.weights = at<const float>(weights);
    a.out = at<float>(out_address);
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.combine, a, n, 1, out); });
}

PyObject* top_k(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "k", "x", "bits", "values", "ids", nullptr};
    PyObject *context, *program;
    Py_ssize_t x, bits, values, ids;
    TopKArgs a{};
    if (!parse(args, keywords, "OOiinnnn", names, &context, &program, &a.n, &a.k, &x, &bits, &values, &ids))
        return nullptr;
    a.x = at<const float>(x);
    a.bits = at<const uint32_t>(bits);
    a.values = at<float>(values);
    a.ids = at<int64_t>(ids);
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.top_k, a, 1, 1, out); });
}

PyObject* masked(PyObject*, PyObject* args, PyObject* keywords) {
    static const char* const names[] = {"context", "program", "n", "x", "bits", "out", nullptr};
    PyObject *context, *program;
    Py_ssize_t x, bits, out_address;
    MaskedArgs a{};
    if (!parse(args, keywords, "OOinnn", names, &context, &program, &a.n, &x, &bits, &out_address)) return nullptr;
    a.x = at<const float>(x);
    a.bits = at<const uint32_t>(bits);
    a.out = at<float>(out_address);
    return finish(context, program, [&](Context& c, Program& out) { emit_items(c, c.level.masked, a, 1, 1, out); });
}

PyMethodDef methods[] = {
    {"levels", levels, METH_NOARGS, "Names of the levels that this processor runs, the best first."},
    {"open_context", open_context, METH_VARARGS, "open_context(level, n_threads) -> context"},
    {"new_program", new_program, METH_NOARGS, "An empty program."},
    {"run", run, METH_VARARGS, "run(context, program)"},
    {"kinds", kinds, METH_NOARGS, "Names of the packed formats; the index is the kind."},
    {"panel_bytes", packed_panel_bytes, METH_VARARGS, "panel_bytes(kind, cols) -> bytes of 16 packed rows"},
    {"set_table", set_table, METH_VARARGS, "set_table(id, words): see tables.h"},
    GM_OPERATOR(pack), GM_OPERATOR(encode), GM_OPERATOR(linear), GM_OPERATOR(experts), GM_OPERATOR(lora), GM_OPERATOR(embedding),
    GM_OPERATOR(norm),
    GM_OPERATOR(layer_norm), GM_OPERATOR(point), GM_OPERATOR(gather), GM_OPERATOR(concat), GM_OPERATOR(angles), GM_OPERATOR(rope_store),
    GM_OPERATOR(attention), GM_OPERATOR(route), GM_OPERATOR(combine), GM_OPERATOR(top_k), GM_OPERATOR(masked),
    GM_OPERATOR(short_conv), GM_OPERATOR(ssd_scan), GM_OPERATOR(selective_scan), GM_OPERATOR(delta_scan),
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_cpu", "Native CPU kernels over addresses.", -1, methods,
                      nullptr, nullptr, nullptr, nullptr};

}  // namespace

}  // namespace gristmill

PyMODINIT_FUNC PyInit__cpu() { return PyModule_Create(&gristmill::module); }
