// What the native tests share: data, exact-sized buffers, comparing a level with the portable one.
#pragma once
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cpu_features.h"
#include "emit.h"
#include "layouts.h"
#include "tables.h"

namespace gristmill {

using Floats = std::vector<float>;
using Bytes = std::vector<uint8_t>;

struct Data {                       // random numbers; the same ones in every run
    std::mt19937 engine{7};
    float next() { return std::normal_distribution<float>()(engine); }
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(engine() % n); }
    Floats floats(size_t n) {
        Floats x(n);
        for (float& v : x) v = next();
        return x;
    }
};

struct Report {
    int passed = 0, failed = 0;
    void check(bool ok, const std::string& what) {
        (ok ? passed : failed) += 1;
        if (!ok) std::printf("FAILED %s\n", what.c_str());
    }
};

inline bool same(const Floats& x, const Floats& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * 4) == 0;
}

// Relative distance, for the one case in which levels may differ.
inline bool close(const Floats& x, const Floats& y, double limit) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        difference += (x[i] - y[i]) * static_cast<double>(x[i] - y[i]);
        size += y[i] * static_cast<double>(y[i]);
    }
    return difference <= limit * limit * size;
}

inline void run(Context& context, Program program) {
    context.pool.run(std::make_shared<Program>(std::move(program)));
}

void test_products(Context& level, Context& portable, Report&);
void test_combinations(Context& level, Context& portable, Report&);
void test_attention(Context& level, Context& portable, Report&);
void test_rows(Context& level, Context& portable, Report&);
void test_states(Context& level, Context& portable, Report&);
void test_heads(Context& level, Context& portable, Report&);
void test_encoders(Context& level, Context& portable, Report&);

}  // namespace gristmill
