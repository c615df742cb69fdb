// A depth-wise convolution between two steps that work pixel by pixel, a strip of the image at a
// time: what lies in between stays in the cache, and most of it is never stored.
#pragma once

#include <algorithm>

#include "promiseg/nn/conv_norm.hpp"

namespace promiseg::nn {

/// Which rows of the input a strip of the output's rows takes. The first is a multiple of the
/// stride, so that the convolution of these rows alone has the whole image's results in it.
struct Strip {
  Strip(ConvGeometry geometry, Index height, Index out_begin, Index out_end)
      : begin(std::max<Index>(
            0, (out_begin - (geometry.padding + geometry.stride - 1) / geometry.stride) *
                   geometry.stride)),
        end(std::min(height, (out_end - 1) * geometry.stride - geometry.padding + geometry.kernel)),
        skipped(out_begin - begin / geometry.stride) {}

  Index begin, end;  ///< rows of the input
  Index skipped;     ///< rows of the strip's own result before those that are wanted
};

inline constexpr Index kStripValues = Index{1} << 20;  // 4 MB, and as much for the result

/// `produce(row, to)` writes rows of the convolution's input, from `row` on, to `to` [rows, w, C];
/// rows are asked for once, in order, but for last ones that have no part in a result.
/// `consume(row, from)` gets rows of its activated output. A row of the input is asked for at the
/// latest when the output row in the same place is consumed, so both may work on the same features.
/// A strip takes about so many `values` of the input. `in` [h, w, C] are the whole input's extents.
/// A backend that trains batch norms gets the whole image at once, as they measure it. Throws
/// `unsupported` for a kernel that leaves rows out or a padding that reaches it.
template <Backend B, class Produce, class Consume>
void depthwise_in_strips(Workspace<B>& workspace, const DepthwiseConvNorm<B>& conv,
                         const Extents<3>& in, Activation activation, const Produce& produce,
                         const Consume& consume, Index values = kStripValues) {
  constexpr Index kFewestRows = 8;
  const ConvGeometry geometry = conv.layer().geometry();
  require(geometry.kernel >= geometry.stride && geometry.padding < geometry.kernel,
          ErrorCode::unsupported, "convolution in strips: kernel ", geometry.kernel, ", stride ",
          geometry.stride, ", padding ", geometry.padding);
  const Extents<4> out = conv.output({1, in[0], in[1], in[2]});
  const Index row_values = std::max<Index>(1, geometry.stride * in[1] * in[2]);
  // More than two strips share, so that what is kept moves to where nothing of it lies.
  const Index fewest = std::max(kFewestRows, geometry.kernel + geometry.stride);
  const Index rows = HasBatchNorm<B> ? out[1] : std::max(fewest, values / row_values);
  const auto frame = workspace.frame();
  const Index room = std::min(in[0], rows * geometry.stride + geometry.kernel + geometry.stride);
  const auto buffer = workspace.tensor(Extents<4>{1, room, in[1], in[2]});
  Index made = 0;   // rows of the input so far
  Index first = 0;  // the row that the buffer begins with
  for (Index y = 0; y < out[1]; y += rows) {
    const auto strip_frame = workspace.frame();
    const Index y_end = std::min(y + rows, out[1]);
    const Strip strip(geometry, in[0], y, y_end);
    const Index kept = made - strip.begin;  // rows that the strip before has made already
    if (strip.begin > first && kept > 0) {
      workspace.backend().copy(buffer.slice(1, strip.begin - first, kept),
                               buffer.slice(1, 0, kept));
    }
    first = strip.begin;
    const auto source = buffer.slice(1, 0, strip.end - strip.begin);
    if (strip.end > made) {
      produce(made, source.select(0, 0).slice(0, made - first, strip.end - made));
      made = strip.end;
    }
    const auto filtered = workspace.tensor(conv.output(source.extents()));
    conv(workspace, source, filtered, activation);
    consume(y, filtered.select(0, 0).slice(0, strip.skipped, y_end - y));
  }
}

}  // namespace promiseg::nn
