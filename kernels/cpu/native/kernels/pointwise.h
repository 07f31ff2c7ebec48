// Operators on rows and elements. Items are rows.
#pragma once

namespace gristmill { namespace GM_LEVEL {

template <class Fn> static inline void for_row(int cols, Fn fn) {      // fn(first element, how many)
    for (int i = 0; i < cols; i += 16) fn(i, cols - i < 16 ? cols - i : 16);
}

static void norm(const void* args, Scratch, int64_t first, int64_t last) {
    const NormArgs& a = *static_cast<const NormArgs*>(args);
    for (int64_t n = first; n < last; ++n) {
        RowReader row(a.x + n * a.x_stride, a.weight, a.cols, a.eps);
        for_row(a.cols, [&](int i, int count) {
            F y = row(i);
            if (a.residual) y = add(load_part(a.residual + n * a.residual_stride + i, count), y);
            store_part(a.out + n * a.out_stride + i, y, count);
        });
    }
}

static void layer_norm(const void* args, Scratch, int64_t first, int64_t last) {
    const LayerNormArgs& a = *static_cast<const LayerNormArgs*>(args);
    for (int64_t n = first; n < last; ++n) {
        const float* x = a.x + n * a.x_stride;
        F total = set_f(0.0f), squares = set_f(0.0f);
        for_row(a.cols, [&](int i, int count) { total = add(total, load_part(x + i, count)); });
        const float mean = sum_f(total) / static_cast<float>(a.cols);
        for_row(a.cols, [&](int i, int count) {
            F v = keep(sub(load_part(x + i, count), set_f(mean)), 0, count, 0.0f);
            squares = fma(v, v, squares);
        });
        const float factor = 1.0f / __builtin_sqrtf(sum_f(squares) / static_cast<float>(a.cols) + a.eps);
        for_row(a.cols, [&](int i, int count) {
            F y = mul(sub(load_part(x + i, count), set_f(mean)), set_f(factor));
            y = fma(y, load_part(a.weight + i, count), load_part(a.bias + i, count));
            store_part(a.out + n * a.out_stride + i, y, count);
        });
    }
}

static inline F point_op(const PointArgs& a, F x, F y) {
    switch (a.op) {
        case kAdd: return add(x, y);
        case kMul: return mul(x, y);
        case kSoftcap: return mul(tanh_f(div(x, y)), y);
        case kGatedSilu: return mul(silu(x), y);
        case kGatedGelu: return mul(gelu(x), y);
        default: return mul(gelu_erf(x), y);
    }
}

static void point(const void* args, Scratch, int64_t first, int64_t last) {
    const PointArgs& a = *static_cast<const PointArgs*>(args);
    for (int64_t n = first; n < last; ++n) {
        const float *x = a.x + n * a.x_stride, *y = a.y ? a.y + n * a.y_stride : &a.factor;
        const bool one = !a.y || a.y_cols == 1;
        for_row(a.cols, [&](int i, int count) {
            F right = one ? set_f(y[0]) : load_part(y + i, count);
            store_part(a.out + n * a.out_stride + i, point_op(a, load_part(x + i, count), right), count);
        });
    }
}

static void gather_rows(const void* args, Scratch, int64_t first, int64_t last) {
    const GatherArgs& a = *static_cast<const GatherArgs*>(args);
    for (int64_t n = first; n < last; ++n)
        __builtin_memcpy(a.out + n * a.cols, a.x + a.rows[n] * a.x_stride, static_cast<size_t>(a.cols) * 4);
}

// The best n_used experts by softmax, best first; of equal ones the first.
static void route(const void* args, Scratch, int64_t first, int64_t last) {
    const RouteArgs& a = *static_cast<const RouteArgs*>(args);
    for (int64_t n = first; n < last; ++n) {
        const float* logits = a.logits + n * a.logits_stride;
        float* weights = a.weights + n * a.n_used;
        int64_t* experts = a.experts + n * a.n_used;
        float highest = logits[0], total = 0.0f, kept = 0.0f;
        for (int e = 1; e < a.n_experts; ++e) highest = logits[e] > highest ? logits[e] : highest;
        for (int e = 0; e < a.n_experts; ++e) total += lane0(exp_f(set_f(logits[e] - highest)));
        for (int k = 0; k < a.n_used; ++k) {
            int64_t best = -1;
            for (int e = 0; e < a.n_experts; ++e) {
                bool taken = false;
                for (int j = 0; j < k; ++j) taken = taken || experts[j] == e;
                if (!taken && (best < 0 || logits[e] > logits[best])) best = e;
            }
            experts[k] = best;
            weights[k] = lane0(exp_f(set_f(logits[best] - highest))) / total;
            kept += weights[k];
        }
        for (int k = 0; k < a.n_used && a.normalize; ++k) weights[k] /= kept;
    }
}

static void combine(const void* args, Scratch, int64_t first, int64_t last) {
    const CombineArgs& a = *static_cast<const CombineArgs*>(args);
    for (int64_t n = first; n < last; ++n)
        for_row(a.cols, [&](int i, int count) {
            F total = set_f(0.0f);
            for (int k = 0; k < a.n_used; ++k) {
                const float* y = a.y + (n * a.n_used + k) * a.cols + i;
                total = fma(load_part(y, count), set_f(a.weights[n * a.n_used + k]), total);
            }
            store_part(a.out + n * a.cols + i, total, count);
        });
}

}}  // namespace gristmill::GM_LEVEL
