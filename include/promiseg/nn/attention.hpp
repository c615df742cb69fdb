// Attention: over a grid of tokens in windows (the encoders), and between two sets of tokens (the
// decoder).
#pragma once

#include <algorithm>
#include <cmath>

#include "promiseg/nn/linear.hpp"

namespace promiseg::nn {

namespace detail {

/// The part of the grid that one window covers; smaller than a window at the far edges.
struct WindowArea {
  Index row, column, rows, columns;
};

/// Adds `q . rows[y, ky] + q . columns[x, kx]` to the scores of one head.
/// queries [h, w, d], scores [h, w, h, w].
template <Backend B>
void add_relative_position(Workspace<B>& workspace, TensorView<const float, 3> queries,
                           const RelativePosition& position, TensorView<float, 4> scores) {
  const auto frame = workspace.frame();
  const Index height = queries.extent(0);
  const Index width = queries.extent(1);
  const auto by_row = workspace.tensor(Extents<3>{height, width, height});    // [y, x, ky]
  const auto by_column = workspace.tensor(Extents<3>{width, height, width});  // [x, y, kx]
  B& backend = workspace.backend();
  backend.batched_gemm(queries, position.rows.permuted({0, 2, 1}), 1.0F, by_row);
  backend.batched_gemm(queries.permuted({1, 0, 2}), position.columns.permuted({0, 2, 1}), 1.0F,
                       by_column);
  backend.add(scores, by_row.with_unit_axis(3).broadcast_to(scores.extents()), scores);
  backend.add(scores,
              by_column.permuted({1, 0, 2}).with_unit_axis(2).broadcast_to(scores.extents()),
              scores);
}

/// Copies one window, heads first, and fills what lies outside the grid with `padding`.
/// tokens [H, W, heads, d], window [heads, h, w, d].
template <Backend B>
void gather_window(B& backend, TensorView<const float, 4> tokens, WindowArea area,
                   TensorView<const float, 2> padding, TensorView<float, 4> window) {
  const TensorView<float, 4> target = window.permuted({1, 2, 0, 3});  // [h, w, heads, d]
  if (area.rows < target.extent(0) || area.columns < target.extent(1)) {
    backend.copy(padding.with_unit_axis(0).with_unit_axis(0).broadcast_to(target.extents()),
                 target);
  }
  backend.copy(tokens.slice(0, area.row, area.rows).slice(1, area.column, area.columns),
               target.slice(0, 0, area.rows).slice(1, 0, area.columns));
}

/// Attention inside one window, composed of primitives. q, k, v, out [heads, h, w, d].
template <Backend B>
void window_attention(Workspace<B>& workspace, TensorView<const float, 4> q,
                      TensorView<const float, 4> k, TensorView<const float, 4> v,
                      const GridAttention& attention, TensorView<float, 4> out) {
  const auto frame = workspace.frame();
  const Index heads = q.extent(0);
  const Index height = q.extent(1);
  const Index width = q.extent(2);
  const Index count = height * width;
  const Extents<3> flat{heads, count, q.extent(3)};
  const auto scores = workspace.tensor(Extents<3>{heads, count, count});
  B& backend = workspace.backend();
  backend.batched_gemm(q.reshaped(flat), k.reshaped(flat).permuted({0, 2, 1}), attention.scale,
                       scores);
  if (attention.relative_position.rows.data() != nullptr) {
    for (Index head = 0; head < heads; ++head) {
      add_relative_position(
          workspace, q.select(0, head), attention.relative_position,
          scores.select(0, head).reshaped(Extents<4>{height, width, height, width}));
    }
  }
  if (attention.bias.data() != nullptr) {
    const auto scores4 = scores.with_unit_axis(0);
    backend.add(scores4, attention.bias.with_unit_axis(0), scores4);
  }
  backend.softmax(scores.reshaped(Extents<2>{heads * count, count}));
  backend.batched_gemm(scores, v.reshaped(flat), 1.0F, out.reshaped(flat));
}

}  // namespace detail

/// Self attention over a grid of tokens. q, k, v and out are [H, W, heads, head_dim], of any
/// strides: the parts of one qkv matrix serve as they are. Uses the backend's own attention where
/// it has one. The composition follows `Attention` and `window_partition` of SAM's
/// image_encoder.py.
template <Backend B>
void grid_attention(Workspace<B>& workspace, TensorView<const float, 4> q,
                    TensorView<const float, 4> k, TensorView<const float, 4> v,
                    const GridAttention& attention, TensorView<float, 4> out) {
  if constexpr (HasGridAttention<B>) {
    workspace.backend().grid_attention(q, k, v, attention, out);
  } else {
    const auto frame = workspace.frame();
    const Index height = attention.window > 0 ? attention.window : q.extent(0);
    const Index width = attention.window > 0 ? attention.window : q.extent(1);
    const Extents<4> window{q.extent(2), height, width, q.extent(3)};
    const auto window_q = workspace.tensor(window);
    const auto window_k = workspace.tensor(window);
    const auto window_v = workspace.tensor(window);
    const auto window_out = workspace.tensor(window);
    B& backend = workspace.backend();
    for (Index row = 0; row < q.extent(0); row += height) {
      for (Index column = 0; column < q.extent(1); column += width) {
        const detail::WindowArea area{row, column, std::min(height, q.extent(0) - row),
                                      std::min(width, q.extent(1) - column)};
        // Padded queries need a value to compute with; what comes out of them is dropped.
        detail::gather_window(backend, q, area, attention.padding_key, window_q);
        detail::gather_window(backend, k, area, attention.padding_key, window_k);
        detail::gather_window(backend, v, area, attention.padding_value, window_v);
        detail::window_attention<B>(workspace, window_q, window_k, window_v, attention, window_out);
        backend.copy(
            window_out.permuted({1, 2, 0, 3}).slice(0, 0, area.rows).slice(1, 0, area.columns),
            out.slice(0, row, area.rows).slice(1, column, area.columns));
      }
    }
  }
}

/// Attention between two sets of tokens: out = softmax(q k^T / sqrt(d)) v for every item and head.
/// q and out [B, N, heads, d], k and v [B, M, heads, d]. Uses the backend's own where it has one.
template <Backend B>
void attention(Workspace<B>& workspace, TensorView<const float, 4> q, TensorView<const float, 4> k,
               TensorView<const float, 4> v, TensorView<float, 4> out) {
  B& backend = workspace.backend();
  const float scale = 1.0F / std::sqrt(static_cast<float>(q.extent(3)));
  if constexpr (HasAttention<B>) {
    backend.attention(q, k, v, scale, out);
  } else {
    const auto frame = workspace.frame();
    const Index rows = q.extent(2) * q.extent(1);
    const auto scores = workspace.tensor(Extents<3>{q.extent(2), q.extent(1), k.extent(1)});
    for (Index item = 0; item < q.extent(0); ++item) {
      const auto heads_first = [item](const auto& tokens) {  // [heads, N, d]
        return tokens.select(0, item).permuted({1, 0, 2});
      };
      backend.batched_gemm(heads_first(q), heads_first(k).permuted({0, 2, 1}), scale, scores);
      backend.softmax(scores.reshaped(Extents<2>{rows, k.extent(1)}));
      backend.batched_gemm(scores, heads_first(v), 1.0F, heads_first(out));
    }
  }
}

/// The four projections of an attention between two sets of tokens.
struct AttentionWeights {
  LinearWeights query;
  LinearWeights key;
  LinearWeights value;
  LinearWeights output;
  Index heads = 1;
};

namespace detail {

/// [B, N, heads, d] of [B, N, heads * d] of any strides.
template <class T>
TensorView<T, 4> by_head(const TensorView<T, 3>& tokens, Index heads) {
  const Index depth = tokens.extent(2) / heads;
  return {tokens.data(),
          {tokens.extent(0), tokens.extent(1), heads, depth},
          {tokens.stride(0), tokens.stride(1), depth * tokens.stride(2), tokens.stride(2)},
          tokens.space()};
}

}  // namespace detail

/// The second half of multi-head attention, after the projections of what it attends with:
/// `out = output(attention(q, k, v)) + residual`. q [B, N, inner], k and v [B, M, inner], of any
/// strides; out [B, N, C]; the residual, if given, may be out or be broadcast over B.
template <Backend B>
void attend(Workspace<B>& workspace, Index heads, TensorView<const float, 3> q,
            TensorView<const float, 3> k, TensorView<const float, 3> v, const Linear<B>& output,
            TensorView<float, 3> out, TensorView<const float, 3> residual = {}) {
  const auto frame = workspace.frame();
  const auto mixed = workspace.tensor(q.extents());
  attention<B>(workspace, detail::by_head(q, heads), detail::by_head(k, heads),
               detail::by_head(v, heads), detail::by_head(mixed, heads));
  if (residual.data() == nullptr) {
    output(workspace, as_rows(mixed), as_rows(out));
  } else if (residual.is_contiguous()) {
    output(workspace, as_rows(mixed), as_rows(out), Activation::none, as_rows(residual));
  } else {
    for (Index item = 0; item < out.extent(0); ++item) {
      output(workspace, mixed.select(0, item), out.select(0, item), Activation::none,
             residual.select(0, item));
    }
  }
}

/// Multi-head attention that may work at a smaller width inside (`Attention` of SAM's
/// transformer.py).
template <Backend B>
class MultiHeadAttention {
 public:
  MultiHeadAttention(B& backend, const AttentionWeights& weights)
      : query_(backend, weights.query),
        key_(backend, weights.key),
        value_(backend, weights.value),
        output_(backend, weights.output),
        heads_(weights.heads) {}

  /// q [B, N, C], k and v [B, M, C], out [B, N, C]; `residual`, if given, is added and may be out.
  void operator()(Workspace<B>& workspace, TensorView<const float, 3> q,
                  TensorView<const float, 3> k, TensorView<const float, 3> v,
                  TensorView<float, 3> out, TensorView<const float, 3> residual = {}) const {
    const auto frame = workspace.frame();
    const auto queries = project(workspace, query_, q);
    const auto keys = project(workspace, key_, k);
    const auto values = project(workspace, value_, v);
    attend<B>(workspace, heads_, queries, keys, values, output_, out, residual);
  }

 private:
  Linear<B> query_;
  Linear<B> key_;
  Linear<B> value_;
  Linear<B> output_;
  Index heads_;
};

}  // namespace promiseg::nn
