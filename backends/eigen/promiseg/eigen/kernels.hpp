// The innermost loops, written once for any vector width and compiled for every instruction set. A
// backend picks one table of them when it is made.
#pragma once

#include <cmath>

#include "promiseg/eigen/isa.hpp"
#include "promiseg/eigen/vector_math.hpp"

namespace promiseg::eigen {

/// One tile of a matrix product, with what happens to it before it is stored.
struct GemmTile {
  const float* a = nullptr;  ///< [depth][tile rows]: packed rows of the left matrix
  const float* b = nullptr;  ///< [depth][tile columns]: a packed panel of the right matrix
  Index depth = 0;
  float* c = nullptr;  ///< where the tile begins in the output
  Index c_stride = 0;
  Index rows = 0;  ///< rows and columns that exist; the packed panels are padded
  Index columns = 0;
  float scale = 1.0F;
  bool first = true;  ///< the first part of a long depth; later ones add to what is stored
  bool last = true;   ///< the last part: bias and activation follow
  const float* bias = nullptr;      ///< one per column, or null
  const float* residual = nullptr;  ///< added with the first part, so it may be the output itself
  Index residual_stride = 0;
  Activation activation = Activation::none;
};

/// Rows of attention scores to turn into weights, in place.
struct SoftmaxRows {
  float* scores = nullptr;  ///< [rows][stride]
  Index rows = 0;
  Index stride = 0;
  Index keys_high = 0;               ///< keys form a grid of this height
  Index keys_wide = 0;               ///< and width
  const float* by_row = nullptr;     ///< [rows][keys_high], added per key row, or null
  const float* by_column = nullptr;  ///< [rows][keys_wide], added per key column, or null
  const float* bias = nullptr;       ///< [rows][keys], or null
  Index bias_stride = 0;
  float* inverse_sums = nullptr;  ///< [rows]: what the weighted sums still have to be scaled by
};

/// Rows of a matrix to normalise.
struct NormRows {
  const float* in = nullptr;
  float* out = nullptr;
  Index rows = 0;
  Index channels = 0;
  Index in_stride = 0;
  Index out_stride = 0;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  float epsilon = 0;
  Activation activation = Activation::none;
};

/// One output row of a depth-wise convolution: for every pixel, channels side by side.
struct DepthwiseRow {
  const float* const* rows = nullptr;  ///< [kernel] input rows, null where padding
  const float* weights = nullptr;      ///< [kernel][kernel][channels]
  const float* bias = nullptr;
  const float* residual = nullptr;  ///< [width][channels] or null
  float* out = nullptr;             ///< [width][channels]
  Index channels = 0;
  Index in_width = 0;
  Index out_width = 0;
  ConvGeometry geometry;
  float scale = 1.0F;
  Activation activation = Activation::none;
};

namespace simd {

/// C = A B on one tile: Rows x (Vectors * Lanes) sums in registers, one outer product per step.
template <int Lanes, int Rows, int Vectors>
PROMISEG_INLINE void gemm_tile(const GemmTile& tile) {
  constexpr int kColumns = Lanes * Vectors;
  Floats<Lanes> sums[Rows][Vectors] = {};
  const float* a = tile.a;
  const float* b = tile.b;
  for (Index k = 0; k < tile.depth; ++k, a += Rows, b += kColumns) {
    Floats<Lanes> column[Vectors];
    PROMISEG_UNROLL
    for (int j = 0; j < Vectors; ++j) load<Lanes>(b + j * Lanes, column[j]);
    PROMISEG_UNROLL
    for (int i = 0; i < Rows; ++i) {
      PROMISEG_UNROLL
      for (int j = 0; j < Vectors; ++j) sums[i][j] += a[i] * column[j];
    }
  }
  PROMISEG_UNROLL
  for (int i = 0; i < Rows; ++i) {
    if (i >= tile.rows) break;
    float* c = tile.c + i * tile.c_stride;
    const float* residual =
        tile.residual != nullptr ? tile.residual + i * tile.residual_stride : nullptr;
    PROMISEG_UNROLL
    for (int j = 0; j < Vectors; ++j) {
      const Index at = j * Lanes;
      const Index count = tile.columns - at < Lanes ? tile.columns - at : Lanes;
      if (count <= 0) break;
      const bool whole = count == Lanes;
      const auto fetch = [&](const float* from, Floats<Lanes>& x) __attribute__((always_inline)) {
        if (whole) {
          load<Lanes>(from, x);
        } else {
          load_part<Lanes>(from, count, x);
        }
      };
      Floats<Lanes> value = sums[i][j] * tile.scale;
      Floats<Lanes> other;
      if (!tile.first) {
        fetch(c + at, other);
        value += other;
      } else if (residual != nullptr) {
        fetch(residual + at, other);
        value += other;
      }
      if (tile.last) {
        if (tile.bias != nullptr) {
          fetch(tile.bias + at, other);
          value += other;
        }
        activate<Lanes>(tile.activation, value);
      }
      if (whole) {
        store<Lanes>(value, c + at);
      } else {
        store_part<Lanes>(value, count, c + at);
      }
    }
  }
}

/// Adds the biases to one row of scores and returns the largest.
template <int Lanes>
PROMISEG_INLINE float add_biases(const SoftmaxRows& task, Index row, float* scores) {
  float largest = -3.0e38F;
  Floats<Lanes> peak = Floats<Lanes>{} + largest;
  for (Index y = 0; y < task.keys_high; ++y) {
    float* line = scores + y * task.keys_wide;
    const float offset = task.by_row != nullptr ? task.by_row[row * task.keys_high + y] : 0.0F;
    const float* bias =
        task.bias != nullptr ? task.bias + row * task.bias_stride + y * task.keys_wide : nullptr;
    const float* columns =
        task.by_column != nullptr ? task.by_column + row * task.keys_wide : nullptr;
    Index x = 0;
    for (; x + Lanes <= task.keys_wide; x += Lanes) {
      Floats<Lanes> value;
      Floats<Lanes> other;
      load<Lanes>(line + x, value);
      value += offset;
      if (columns != nullptr) {
        load<Lanes>(columns + x, other);
        value += other;
      }
      if (bias != nullptr) {
        load<Lanes>(bias + x, other);
        value += other;
      }
      maximum<Lanes>(value, peak);
      store<Lanes>(value, line + x);
    }
    for (; x < task.keys_wide; ++x) {
      line[x] +=
          offset + (columns != nullptr ? columns[x] : 0.0F) + (bias != nullptr ? bias[x] : 0.0F);
      largest = line[x] > largest ? line[x] : largest;
    }
  }
  const float among_vectors = horizontal_maximum<Lanes>(peak);
  return among_vectors > largest ? among_vectors : largest;
}

/// Scores become e^(score - largest); what is left over to the stride becomes zero.
template <int Lanes>
PROMISEG_INLINE void softmax_rows(const SoftmaxRows& task) {
  const Index keys = task.keys_high * task.keys_wide;
  for (Index row = 0; row < task.rows; ++row) {
    float* scores = task.scores + row * task.stride;
    const float largest = add_biases<Lanes>(task, row, scores);
    Floats<Lanes> sums = {};
    Index k = 0;
    for (; k + Lanes <= keys; k += Lanes) {
      Floats<Lanes> value;
      load<Lanes>(scores + k, value);
      value -= largest;
      exp_of_negative<Lanes>(value);
      sums += value;
      store<Lanes>(value, scores + k);
    }
    float sum = horizontal_sum<Lanes>(sums);
    if (k < keys) {
      Floats<Lanes> value;
      load_part<Lanes>(scores + k, keys - k, value);
      value -= largest;
      exp_of_negative<Lanes>(value);
      store_part<Lanes>(value, keys - k, scores + k);
      for (; k < keys; ++k) sum += scores[k];
    }
    for (; k < task.stride; ++k) scores[k] = 0.0F;
    task.inverse_sums[row] = 1.0F / sum;
  }
}

template <int Lanes>
PROMISEG_INLINE void norm_rows(const NormRows& task) {
  const Index whole = task.channels - task.channels % Lanes;
  const Index rest = task.channels - whole;
  const auto count = static_cast<float>(task.channels);
  for (Index row = 0; row < task.rows; ++row) {
    const float* in = task.in + row * task.in_stride;
    float* out = task.out + row * task.out_stride;
    Floats<Lanes> sums = {};
    Floats<Lanes> x;
    for (Index c = 0; c < whole; c += Lanes) {
      load<Lanes>(in + c, x);
      sums += x;
    }
    float mean = horizontal_sum<Lanes>(sums);
    for (Index c = whole; c < task.channels; ++c) mean += in[c];
    mean /= count;
    sums = Floats<Lanes>{};
    for (Index c = 0; c < whole; c += Lanes) {
      load<Lanes>(in + c, x);
      x -= mean;
      sums += x * x;
    }
    float variance = horizontal_sum<Lanes>(sums);
    for (Index c = whole; c < task.channels; ++c) variance += (in[c] - mean) * (in[c] - mean);
    const float inverse = 1.0F / std::sqrt(variance / count + task.epsilon);
    Floats<Lanes> gamma;
    Floats<Lanes> beta;
    for (Index c = 0; c < whole; c += Lanes) {
      load<Lanes>(in + c, x);
      load<Lanes>(task.gamma + c, gamma);
      load<Lanes>(task.beta + c, beta);
      x = (x - mean) * inverse * gamma + beta;
      activate<Lanes>(task.activation, x);
      store<Lanes>(x, out + c);
    }
    if (rest > 0) {
      load_part<Lanes>(in + whole, rest, x);
      load_part<Lanes>(task.gamma + whole, rest, gamma);
      load_part<Lanes>(task.beta + whole, rest, beta);
      x = (x - mean) * inverse * gamma + beta;
      activate<Lanes>(task.activation, x);
      store_part<Lanes>(x, rest, out + whole);
    }
  }
}

/// `count` channels of one output pixel, from channel `c` on.
template <int Lanes>
PROMISEG_INLINE void depthwise_pixel(const DepthwiseRow& task, Index x, Index c, Index count) {
  const bool whole = count == Lanes;
  const auto fetch = [&](const float* from, Floats<Lanes>& value) __attribute__((always_inline)) {
    if (whole) {
      load<Lanes>(from, value);
    } else {
      load_part<Lanes>(from, count, value);
    }
  };
  const ConvGeometry& geometry = task.geometry;
  const Index left = x * geometry.stride - geometry.padding;
  Floats<Lanes> sum = {};
  Floats<Lanes> value;
  Floats<Lanes> weight;
  for (Index ky = 0; ky < geometry.kernel; ++ky) {
    if (task.rows[ky] == nullptr) continue;
    for (Index kx = 0; kx < geometry.kernel; ++kx) {
      const Index column = left + kx;
      if (column < 0 || column >= task.in_width) continue;
      fetch(task.rows[ky] + column * task.channels + c, value);
      fetch(task.weights + (ky * geometry.kernel + kx) * task.channels + c, weight);
      sum += value * weight;
    }
  }
  sum *= task.scale;
  const Index at = x * task.channels + c;
  if (task.bias != nullptr) {
    fetch(task.bias + c, value);
    sum += value;
  }
  if (task.residual != nullptr) {
    fetch(task.residual + at, value);
    sum += value;
  }
  activate<Lanes>(task.activation, sum);
  if (whole) {
    store<Lanes>(sum, task.out + at);
  } else {
    store_part<Lanes>(sum, count, task.out + at);
  }
}

template <int Lanes>
PROMISEG_INLINE void depthwise_row(const DepthwiseRow& task) {
  for (Index x = 0; x < task.out_width; ++x) {
    Index c = 0;
    for (; c + Lanes <= task.channels; c += Lanes) depthwise_pixel<Lanes>(task, x, c, Lanes);
    if (c < task.channels) depthwise_pixel<Lanes>(task, x, c, task.channels - c);
  }
}

}  // namespace simd

/// The kernels of one instruction set, and the tile its matrix product works on.
struct KernelTable {
  Isa isa;
  Index tile_rows;
  Index tile_columns;
  void (*gemm_tile)(const GemmTile&);
  void (*softmax_rows)(const SoftmaxRows&);
  void (*norm_rows)(const NormRows&);
  void (*depthwise_row)(const DepthwiseRow&);
};

/// The largest tile of any table, for buffers of a fixed size.
inline constexpr Index kMaxTileRows = 12;

// What function-level target attributes the instruction sets stand for.
#define PROMISEG_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define PROMISEG_TARGET_AVX512 \
  __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))

// Defines, in a namespace of its own, every kernel for one instruction set and their table.
#define PROMISEG_KERNELS(NAME, TARGET, LANES, ROWS, VECTORS)                                       \
  namespace NAME {                                                                                 \
  TARGET inline void gemm_tile(const GemmTile& task) {                                             \
    simd::gemm_tile<LANES, ROWS, VECTORS>(task);                                                   \
  }                                                                                                \
  TARGET inline void softmax_rows(const SoftmaxRows& task) { simd::softmax_rows<LANES>(task); }    \
  TARGET inline void norm_rows(const NormRows& task) { simd::norm_rows<LANES>(task); }             \
  TARGET inline void depthwise_row(const DepthwiseRow& task) { simd::depthwise_row<LANES>(task); } \
  inline constexpr KernelTable kTable = {Isa::NAME,    ROWS,      LANES* VECTORS, gemm_tile,       \
                                         softmax_rows, norm_rows, depthwise_row};                  \
  }

PROMISEG_KERNELS(generic, , 4, 6, 2)
#if PROMISEG_X86_TARGETS
PROMISEG_KERNELS(avx2, PROMISEG_TARGET_AVX2, 8, 6, 2)
PROMISEG_KERNELS(avx512, PROMISEG_TARGET_AVX512, 16, 12, 2)
#endif
#undef PROMISEG_KERNELS

/// The kernels for an instruction set; it must be available.
inline const KernelTable& kernels_for(Isa isa) {
#if PROMISEG_X86_TARGETS
  if (isa == Isa::avx512) return avx512::kTable;
  if (isa == Isa::avx2) return avx2::kTable;
#endif
  return generic::kTable;
}

}  // namespace promiseg::eigen
