// What a compute backend is: memory, and about a dozen primitives over views. The model is written
// once against this concept. docs/backends.md argues every primitive.
#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>

#include "promiseg/core/buffer.hpp"
#include "promiseg/core/tensor_view.hpp"

namespace promiseg {

/// Applied element by element at the end of a primitive. `gelu` is the exact (erf) form.
enum class Activation { none, relu, gelu };

/// What a matrix product or convolution does to its result before storing it:
/// `out = activation(scale * product + bias + residual)`. Declared in the signature, so a backend
/// may fuse it; the meaning is the same if it does not. An empty view means "not there".
/// `residual` may be the same memory as the output.
template <std::size_t Rank>
struct Epilogue {
  TensorView<const float, 1> bias;         ///< one value per output channel
  TensorView<const float, Rank> residual;  ///< of the output's shape
  Activation activation = Activation::none;
  float scale = 1.0F;
};

/// Kernel size, stride and zero padding of a convolution, the same for both axes.
struct ConvGeometry {
  Index kernel = 1;
  Index stride = 1;
  Index padding = 0;

  /// Output extent for an input extent.
  constexpr Index output(Index input) const { return (input + 2 * padding - kernel) / stride + 1; }
};

/// The two tables of SAM's decomposed relative position. The score of query (y, x) and key
/// (ky, kx) grows by `q . rows[y, ky] + q . columns[x, kx]`, with the unscaled q.
struct RelativePosition {
  TensorView<const float, 3> rows;     ///< [window height, window height, head_dim]
  TensorView<const float, 3> columns;  ///< [window width, window width, head_dim]
};

/// Self attention over a grid of tokens, in windows that do not overlap.
struct GridAttention {
  Index window = 0;  ///< side of a window in tokens; 0: one window, the whole grid
  float scale = 1.0F;
  /// Key and value, `[heads, head_dim]`, of the tokens that fill up the last windows. They take
  /// part in the softmax; nothing is computed for them as queries.
  TensorView<const float, 2> padding_key;
  TensorView<const float, 2> padding_value;
  TensorView<const float, 3> bias;     ///< [heads, window tokens, window tokens], or empty
  RelativePosition relative_position;  ///< empty views: none
};

/// The contract of a backend `B`. All tensors are float32, channels last, in the backend's memory
/// space; images are `[batch, height, width, channels]`. Sources come first, the destination last.
/// Primitives check the shapes they are given (`shape_mismatch`). Unless said otherwise, a
/// destination must not overlap a source. `add`, `copy` and `batched_gemm` take views of any
/// strides; elsewhere the last axis must have stride one, and images be contiguous but for the
/// input of `conv2d`; a backend may take more, and refuses what it cannot take.
template <class B>
concept Backend = requires(B& backend, const B& constant, std::size_t size,
                           TensorView<const float, 1> vector, TensorView<float, 1> vector_out,
                           TensorView<const float, 2> matrix, TensorView<float, 2> matrix_out,
                           TensorView<const float, 3> cube, TensorView<float, 3> cube_out,
                           TensorView<const float, 4> image, TensorView<float, 4> image_out,
                           const Epilogue<2>& epilogue2, const Epilogue<4>& epilogue4,
                           ConvGeometry geometry, float number, Activation activation) {
  // A weight matrix [outputs, inputs] in whatever order the backend's kernels like best. Frozen
  // weights are packed once, from host memory, when a model is loaded.
  typename B::PackedMatrix;
  requires std::movable<typename B::PackedMatrix>;
  { backend.pack(matrix) } -> std::same_as<typename B::PackedMatrix>;

  // Memory.
  { constant.name() } -> std::convertible_to<std::string_view>;
  { constant.space() } -> std::same_as<MemorySpace>;
  { backend.allocate(size) } -> std::same_as<Buffer>;
  backend.upload(vector, vector_out);    // host to backend
  backend.download(vector, vector_out);  // backend to host, complete on return

  requires requires(const typename B::PackedMatrix& weights) {
    // out [M, N] = epilogue(in [M, K] x weights [N, K]^T)
    backend.gemm(matrix, weights, epilogue2, matrix_out);
    // Weights [O, kernel * kernel * C], the input channel running fastest.
    backend.conv2d(image, weights, geometry, epilogue4, image_out);
    // Kernel = stride = k: no output pixel has two sources. Weights [k * k * O, C], the output
    // channel running fastest; the bias has O values or is empty.
    backend.conv_transpose2d(image, weights, geometry.kernel, vector, activation, image_out);
  };
  // out [B, M, N] = scale * a [B, M, K] x b [B, K, N], any strides: activations by activations.
  backend.batched_gemm(cube, cube, number, cube_out);
  // Weights [kernel, kernel, C].
  backend.depthwise_conv2d(image, cube, geometry, epilogue4, image_out);
  // Over the last axis, then the activation; gamma, beta [C]. In place is allowed.
  backend.layer_norm(matrix, vector, vector, number, activation, matrix_out);
  backend.softmax(matrix_out);  // over the last axis, in place
  // The largest value under the kernel; what lies outside the image does not count.
  backend.max_pool2d(image, geometry, image_out);
  backend.mean_pixels(image, matrix_out);  // [B, H, W, C] to [B, C]
  // out = a + b; broadcast by stride 0. In place is allowed.
  backend.add(image, image, image_out);
  backend.copy(image, image_out);  // any strides: permute, pad, concatenate, split
};

/// A backend with its own, fused attention over a grid. Others get the composition of
/// `nn/attention.hpp`, which keeps all scores of a window in memory.
template <class B>
concept HasGridAttention = Backend<B> &&
    requires(B& backend, TensorView<const float, 4> tokens /*[H, W, heads, d]*/,
             const GridAttention& attention, TensorView<float, 4> out) {
  backend.grid_attention(tokens, tokens, tokens, attention, out);
};

/// A backend with its own, fused attention between two sets of tokens. Others get the composition
/// of `nn/attention.hpp`, which keeps all scores in memory.
template <class B>
concept HasAttention = Backend<B> &&
    requires(B& backend, TensorView<const float, 4> q /*[B, N, heads, d]*/,
             TensorView<const float, 4> kv /*[B, M, heads, d]*/, float scale,
             TensorView<float, 4> out) {
  // out = softmax(scale * q k^T) v, for every item and head
  backend.attention(q, kv, kv, scale, out);
};

/// A backend that prepares the weights of a convolution for its geometry. They go to `conv2d` with
/// that kernel and stride, and nowhere else: it may refuse them. Others pack them as any matrix.
/// Throws `shape_mismatch` where geometry and weights do not fit.
template <class B>
concept PacksConvolutions = Backend<B> &&
    requires(B& backend, TensorView<const float, 2> weights /*[O, kernel * kernel * C]*/,
             ConvGeometry geometry) {
  { backend.pack_conv(weights, geometry) } -> std::same_as<typename B::PackedMatrix>;
};

/// Packs the weights of a convolution as well as the backend can.
template <Backend B>
typename B::PackedMatrix pack_conv(B& backend, TensorView<const float, 2> weights,
                                   ConvGeometry geometry) {
  if constexpr (PacksConvolutions<B>) {
    return backend.pack_conv(weights, geometry);
  } else {
    return backend.pack(weights);
  }
}

namespace detail {

inline void require_geometry(ConvGeometry geometry, std::string_view what) {
  require(geometry.kernel > 0 && geometry.stride > 0 && geometry.padding >= 0,
          ErrorCode::invalid_argument, what, ": kernel ", geometry.kernel, ", stride ",
          geometry.stride, ", padding ", geometry.padding, " make no convolution");
}

template <std::size_t Rank>
void require_epilogue(const Epilogue<Rank>& epilogue, const Extents<Rank>& out,
                      std::string_view what) {
  if (epilogue.bias.data() != nullptr) {
    require_shape(epilogue.bias, Extents<1>{out[Rank - 1]}, what);
  }
  if (epilogue.residual.data() != nullptr) require_shape(epilogue.residual, out, what);
}

}  // namespace detail

// Shape checks that every backend shares; each throws `shape_mismatch` naming the primitive.

inline void require_gemm(TensorView<const float, 2> in, Index outputs, Index inputs,
                         const Epilogue<2>& epilogue, TensorView<float, 2> out) {
  require_shape(in, Extents<2>{out.extent(0), inputs}, "gemm: input");
  require_shape(out, Extents<2>{in.extent(0), outputs}, "gemm: output");
  detail::require_epilogue(epilogue, out.extents(), "gemm: epilogue");
}

inline void require_batched_gemm(TensorView<const float, 3> a, TensorView<const float, 3> b,
                                 TensorView<float, 3> out) {
  require_shape(b, Extents<3>{a.extent(0), a.extent(2), out.extent(2)}, "batched_gemm: b");
  require_shape(out, Extents<3>{a.extent(0), a.extent(1), b.extent(2)}, "batched_gemm: output");
}

inline void require_conv2d(TensorView<const float, 4> in, Index outputs, Index inputs,
                           ConvGeometry geometry, const Epilogue<4>& epilogue,
                           TensorView<float, 4> out) {
  detail::require_geometry(geometry, "conv2d");
  require(inputs == geometry.kernel * geometry.kernel * in.extent(3), ErrorCode::shape_mismatch,
          "conv2d: weights for ", inputs, " inputs, but kernel ", geometry.kernel,
          " squared times ", in.extent(3), " channels was given");
  require_shape(out,
                Extents<4>{in.extent(0), geometry.output(in.extent(1)),
                           geometry.output(in.extent(2)), outputs},
                "conv2d: output");
  detail::require_epilogue(epilogue, out.extents(), "conv2d: epilogue");
}

inline void require_pack_conv(TensorView<const float, 2> weights, ConvGeometry geometry) {
  detail::require_geometry(geometry, "pack_conv");
  const Index taps = geometry.kernel * geometry.kernel;
  require(weights.extent(1) % taps == 0, ErrorCode::shape_mismatch, "pack_conv: weights of ",
          weights.extent(1), " inputs, expected a multiple of kernel ", geometry.kernel,
          " squared");
}

inline void require_depthwise_conv2d(TensorView<const float, 4> in,
                                     TensorView<const float, 3> weights, ConvGeometry geometry,
                                     const Epilogue<4>& epilogue, TensorView<float, 4> out) {
  detail::require_geometry(geometry, "depthwise_conv2d");
  require_shape(weights, Extents<3>{geometry.kernel, geometry.kernel, in.extent(3)},
                "depthwise_conv2d: weights");
  require_shape(out,
                Extents<4>{in.extent(0), geometry.output(in.extent(1)),
                           geometry.output(in.extent(2)), in.extent(3)},
                "depthwise_conv2d: output");
  detail::require_epilogue(epilogue, out.extents(), "depthwise_conv2d: epilogue");
}

inline void require_conv_transpose2d(TensorView<const float, 4> in, Index rows, Index inputs,
                                     Index kernel, TensorView<const float, 1> bias,
                                     TensorView<float, 4> out) {
  require(inputs == in.extent(3) && rows == kernel * kernel * out.extent(3),
          ErrorCode::shape_mismatch, "conv_transpose2d: weights [", rows, ", ", inputs,
          "] do not fit kernel ", kernel, ", ", in.extent(3), " input and ", out.extent(3),
          " output channels");
  require_shape(
      out, Extents<4>{in.extent(0), in.extent(1) * kernel, in.extent(2) * kernel, out.extent(3)},
      "conv_transpose2d: output");
  if (bias.data() != nullptr) {
    require_shape(bias, Extents<1>{out.extent(3)}, "conv_transpose2d: bias");
  }
}

inline void require_max_pool2d(TensorView<const float, 4> in, ConvGeometry geometry,
                               TensorView<float, 4> out) {
  detail::require_geometry(geometry, "max_pool2d");
  require_shape(out,
                Extents<4>{in.extent(0), geometry.output(in.extent(1)),
                           geometry.output(in.extent(2)), in.extent(3)},
                "max_pool2d: output");
  require(geometry.padding < geometry.kernel, ErrorCode::shape_mismatch, "max_pool2d: padding ",
          geometry.padding, " must be below the kernel's ", geometry.kernel);
}

inline void require_mean_pixels(TensorView<const float, 4> in, TensorView<float, 2> out) {
  require_shape(out, Extents<2>{in.extent(0), in.extent(3)}, "mean_pixels: output");
}

inline void require_layer_norm(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                               TensorView<const float, 1> beta, TensorView<float, 2> out) {
  require_shape(out, in.extents(), "layer_norm: output");
  require_shape(gamma, Extents<1>{in.extent(1)}, "layer_norm: gamma");
  require_shape(beta, Extents<1>{in.extent(1)}, "layer_norm: beta");
}

inline void require_attention(TensorView<const float, 4> q, TensorView<const float, 4> k,
                              TensorView<const float, 4> v, TensorView<float, 4> out) {
  require_shape(k, Extents<4>{q.extent(0), k.extent(1), q.extent(2), q.extent(3)}, "attention: k");
  require_shape(v, k.extents(), "attention: v");
  require_shape(out, q.extents(), "attention: output");
  require(k.extent(1) > 0, ErrorCode::shape_mismatch, "attention: no keys");
}

inline void require_grid_attention(TensorView<const float, 4> q, TensorView<const float, 4> k,
                                   TensorView<const float, 4> v, const GridAttention& attention,
                                   TensorView<float, 4> out) {
  require_shape(k, q.extents(), "grid_attention: k");
  require_shape(v, q.extents(), "grid_attention: v");
  require_shape(out, q.extents(), "grid_attention: output");
  const Index height = attention.window > 0 ? attention.window : q.extent(0);
  const Index width = attention.window > 0 ? attention.window : q.extent(1);
  const Index depth = q.extent(3);
  if (attention.window > 0) {
    const Extents<2> padding{q.extent(2), depth};
    require_shape(attention.padding_key, padding, "grid_attention: padding key");
    require_shape(attention.padding_value, padding, "grid_attention: padding value");
  }
  if (attention.bias.data() != nullptr) {
    const Index tokens = height * width;
    require_shape(attention.bias, Extents<3>{q.extent(2), tokens, tokens}, "grid_attention: bias");
  }
  if (attention.relative_position.rows.data() != nullptr) {
    require_shape(attention.relative_position.rows, Extents<3>{height, height, depth},
                  "grid_attention: relative rows");
    require_shape(attention.relative_position.columns, Extents<3>{width, width, depth},
                  "grid_attention: relative columns");
  }
}

}  // namespace promiseg
