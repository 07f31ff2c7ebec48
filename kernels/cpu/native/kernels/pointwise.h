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
        case kGatedGeluErf: return mul(gelu_erf(x), y);
        case kClamp: return max(min(x, y), sub(set_f(0.0f), y));
        case kGatedRelu: return mul(max(x, set_f(0.0f)), y);
        case kGatedReluSqr: { F kept = max(x, set_f(0.0f)); return mul(mul(kept, kept), y); }
        case kGatedSigmoid: return mul(sigmoid(x), y);
        default: return oai_swiglu(x, y);
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

static void concat(const void* args, Scratch, int64_t first, int64_t last) {        // items: tokens, by head
    const ConcatArgs& a = *static_cast<const ConcatArgs*>(args);
    for (int64_t i = first; i < last; ++i) {
        const int64_t n = i / a.heads, head = i % a.heads;
        float* out = a.out + i * (a.x_cols + a.y_cols);
        __builtin_memcpy(out, a.x + n * a.x_stride + head * a.x_head, static_cast<size_t>(a.x_cols) * 4);
        __builtin_memcpy(out + a.x_cols, a.y + n * a.y_stride + head * a.y_head, static_cast<size_t>(a.y_cols) * 4);
    }
}

// What a token's router says: a probability for each expert, or for kSoftmaxOfChosen the logits themselves.
static inline void gate(const RouteArgs& a, const float* logits, float* scores) {
    if (a.gating == kSoftmaxOfChosen) {
        for (int e = 0; e < a.n_experts; ++e) scores[e] = logits[e];
    } else if (a.gating == kSigmoid) {
        for (int e = 0; e < a.n_experts; ++e) scores[e] = lane0(sigmoid(set_f(logits[e])));
    } else {
        float highest = logits[0], total = 0.0f;
        for (int e = 1; e < a.n_experts; ++e) highest = logits[e] > highest ? logits[e] : highest;
        for (int e = 0; e < a.n_experts; ++e) total += scores[e] = lane0(exp_f(set_f(logits[e] - highest)));
        for (int e = 0; e < a.n_experts; ++e) scores[e] /= total;
    }
}

// The highest of values that is not taken, the first of equal ones; -1 where all are.
static inline int best_of(const float* values, const bool* taken, int n) {
    int best = -1;
    for (int i = 0; i < n; ++i)
        if (!taken[i] && (best < 0 || values[i] > values[best])) best = i;
    return best;
}

// Takes away the experts of all groups but the best. A group is as good as its two best experts together.
static inline void choose_groups(const RouteArgs& a, const float* rank, bool* taken) {
    float sums[kMaxGroups];
    bool chosen[kMaxGroups] = {};
    const int size = a.n_experts / a.n_groups;
    for (int g = 0; g < a.n_groups; ++g) {
        const float* group = rank + g * size;
        bool seen[kMaxExperts] = {};
        int first = best_of(group, seen, size);
        seen[first] = true;
        int second = best_of(group, seen, size);
        sums[g] = group[first] + (second < 0 ? 0.0f : group[second]);
    }
    for (int k = 0; k < a.n_groups_used; ++k) chosen[best_of(sums, chosen, a.n_groups)] = true;
    for (int e = 0; e < a.n_experts; ++e) taken[e] = !chosen[e / size];
}

// The best n_used experts, best first, and their weights.
static void route(const void* args, Scratch, int64_t first, int64_t last) {
    const RouteArgs& a = *static_cast<const RouteArgs*>(args);
    for (int64_t n = first; n < last; ++n) {
        float scores[kMaxExperts], biased[kMaxExperts], total = 0.0f;
        bool taken[kMaxExperts] = {};
        float* weights = a.weights + n * a.n_used;
        int64_t* experts = a.experts + n * a.n_used;
        gate(a, a.logits + n * a.logits_stride, scores);
        for (int e = 0; e < a.n_experts && a.bias; ++e) biased[e] = scores[e] + a.bias[e];
        const float* rank = a.bias ? biased : scores;
        if (a.n_groups > 1) choose_groups(a, rank, taken);
        for (int k = 0; k < a.n_used; ++k) {
            int best = best_of(rank, taken, a.n_experts);
            taken[best] = true;
            experts[k] = best;
            weights[k] = scores[best];
            if (a.gating == kSoftmaxOfChosen) weights[k] = lane0(exp_f(set_f(scores[best] - scores[experts[0]])));
            total += weights[k];
        }
        const bool divides = a.normalize || a.gating == kSoftmaxOfChosen;
        for (int k = 0; k < a.n_used; ++k) weights[k] = (divides ? weights[k] / total : weights[k]) * a.scale;
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
