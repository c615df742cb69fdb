// Turns prompts into tokens (points and boxes) and into an image (mask prompts, position encoding).
// Follows segment_anything/modeling/prompt_encoder.py.
#pragma once

#include <array>
#include <cmath>
#include <numbers>
#include <span>
#include <string>

#include "promiseg/nn/conv.hpp"
#include "promiseg/nn/norm.hpp"
#include "promiseg/sam/model_config.hpp"
#include "promiseg/sam/prompts.hpp"

namespace promiseg {

struct PromptEncoderWeights {
  TensorView<const float, 2> gaussian;  ///< [2, C / 2], the frequencies of the position encoding
  std::array<TensorView<const float, 2>, 4> point_embeddings;  ///< [1, C]: background,
                                                               ///< foreground, box corners
  TensorView<const float, 2> not_a_point;                      ///< [1, C]
  TensorView<const float, 2> no_mask;                          ///< [1, C]
  nn::ConvWeights conv1;
  nn::NormWeights norm1;
  nn::ConvWeights conv2;
  nn::NormWeights norm2;
  nn::ConvWeights conv3;
};

inline PromptEncoderWeights prompt_encoder_weights(nn::WeightSource& source,
                                                   const ModelConfig& config) {
  const Index width = config.prompt_embed_dim;
  const Index channels = config.mask_in_chans;
  const auto epsilon = static_cast<float>(config.layernorm2d_eps);
  const Extents<2> one{1, width};
  const std::string root = "prompt_encoder.";
  const std::string mask = root + "mask_downscaling.";
  PromptEncoderWeights weights;
  weights.gaussian =
      source.get(root + "pe_layer.positional_encoding_gaussian_matrix", Extents<2>{2, width / 2});
  for (std::size_t i = 0; i < weights.point_embeddings.size(); ++i) {
    weights.point_embeddings[i] =
        source.get(root + "point_embeddings." + std::to_string(i) + ".weight", one);
  }
  weights.not_a_point = source.get(root + "not_a_point_embed.weight", one);
  weights.no_mask = source.get(root + "no_mask_embed.weight", one);
  weights.conv1 = nn::conv_weights(source, mask + "0", {channels / 4, 1, 2, 2}, channels / 4);
  weights.norm1 = nn::norm_weights(source, mask + "1", channels / 4, epsilon);
  weights.conv2 = nn::conv_weights(source, mask + "3", {channels, channels / 4, 2, 2}, channels);
  weights.norm2 = nn::norm_weights(source, mask + "4", channels, epsilon);
  weights.conv3 = nn::conv_weights(source, mask + "6", {width, channels, 1, 1}, width);
  return weights;
}

/// `PromptEncoder`. Sparse tokens are a few hundred numbers and are made on the host; the dense
/// parts are made on the backend.
template <Backend B>
class PromptEncoder {
 public:
  PromptEncoder(B& backend, const ModelConfig& config, const PromptEncoderWeights& weights)
      : width_(config.prompt_embed_dim),
        grid_(config.grid()),
        image_size_(static_cast<float>(config.image_size)),
        gaussian_(weights.gaussian),
        not_a_point_(weights.not_a_point),
        no_mask_(backend, weights.no_mask.reshaped(Extents<4>{1, 1, 1, width_})),
        conv1_(backend, weights.conv1, 2, 0),
        norm1_(backend, weights.norm1),
        conv2_(backend, weights.conv2, 2, 0),
        norm2_(backend, weights.norm2),
        conv3_(backend, weights.conv3, 1, 0),
        dense_pe_host_(make_dense_pe()),
        dense_pe_(backend, dense_pe_host_.view()) {
    for (std::size_t i = 0; i < point_embeddings_.size(); ++i) {
      point_embeddings_[i] = Tensor<float, 2>(weights.point_embeddings[i]);
    }
  }

  /// Side of a mask prompt.
  Index mask_size() const { return 4 * grid_; }

  /// Writes the tokens of one prompt, in the model's frame, to `tokens` [token_count, C] on the
  /// host: first the points, then the padding point, then the box.
  void encode_sparse(const Prompt& prompt, TensorView<float, 2> tokens) const {
    Index row = 0;
    for (const PointPrompt& point : prompt.points) encode_point(point, tokens.select(0, row++));
    if (prompt.box.has_value()) {
      encode_corner(prompt.box->x0, prompt.box->y0, 2, tokens.select(0, row++));
      encode_corner(prompt.box->x1, prompt.box->y1, 3, tokens.select(0, row++));
    }
    if (needs_padding_point(prompt)) encode_point({0, 0, kIgnored}, tokens.select(0, row++));
  }

  /// The derivatives of a loss by x and y of a point, given those by its token [C]; zero for an
  /// ignored point.
  std::array<float, 2> coordinate_gradient(const PointPrompt& point,
                                           TensorView<const float, 1> by_token) const {
    if (point.label == kIgnored) return {0, 0};
    const Index half = width_ / 2;
    const float x = 2.0F * ((point.x + 0.5F) / image_size_) - 1.0F;
    const float y = 2.0F * ((point.y + 0.5F) / image_size_) - 1.0F;
    double by_x = 0;
    double by_y = 0;
    for (Index i = 0; i < half; ++i) {
      const float angle = phase_angle(x, y, i);
      const double by_angle = double{by_token(i)} * double{std::cos(angle)} -
                              double{by_token(half + i)} * double{std::sin(angle)};
      by_x += by_angle * double{gaussian_.view()(0, i)};
      by_y += by_angle * double{gaussian_.view()(1, i)};
    }
    const double slope = 4.0 * std::numbers::pi / double{image_size_};
    return {static_cast<float>(by_x * slope), static_cast<float>(by_y * slope)};
  }

  /// [1, 1, 1, C] on the backend: what is added to the embedding where there is no mask prompt.
  TensorView<const float, 4> no_mask() const { return no_mask_.view(); }

  /// masks [B, 4 * grid, 4 * grid, 1], out [B, grid, grid, C], both on the backend.
  void encode_masks(nn::Workspace<B>& workspace, TensorView<const float, 4> masks,
                    TensorView<float, 4> out) const {
    const auto frame = workspace.frame();
    const auto half = workspace.tensor(conv1_.output(masks.extents()));
    const auto quarter = workspace.tensor(conv2_.output(half.extents()));
    conv1_(workspace, masks, half);
    norm1_(workspace, pixels(half), pixels(half), Activation::gelu);
    conv2_(workspace, half, quarter);
    norm2_(workspace, pixels(quarter), pixels(quarter), Activation::gelu);
    conv3_(workspace, quarter, out);
  }

  /// The position encoding of the grid's cell centres, [grid, grid, C], on the backend and the
  /// host.
  TensorView<const float, 3> dense_pe() const { return dense_pe_.view(); }
  const Tensor<float, 3>& dense_pe_host() const { return dense_pe_host_; }

 private:
  static constexpr int kIgnored = -1;

  static TensorView<float, 2> pixels(TensorView<float, 4> image) {
    return image.reshaped(Extents<2>{image.size() / image.extent(3), image.extent(3)});
  }

  /// Of a position scaled to [-1, 1], at frequency i.
  float phase_angle(float x, float y, Index i) const {
    const float phase = x * gaussian_.view()(0, i) + y * gaussian_.view()(1, i);
    return 2.0F * std::numbers::pi_v<float> * phase;
  }

  /// `_pe_encoding` of a position scaled to [0, 1].
  void encode_position(float x, float y, TensorView<float, 1> out) const {
    const float centred_x = 2.0F * x - 1.0F;
    const float centred_y = 2.0F * y - 1.0F;
    const Index half = width_ / 2;
    for (Index i = 0; i < half; ++i) {
      const float angle = phase_angle(centred_x, centred_y, i);
      out(i) = std::sin(angle);
      out(half + i) = std::cos(angle);
    }
  }

  /// A pixel's centre lies half a pixel from its coordinates.
  void encode_corner(float x, float y, std::size_t embedding, TensorView<float, 1> out) const {
    encode_position((x + 0.5F) / image_size_, (y + 0.5F) / image_size_, out);
    for (Index c = 0; c < width_; ++c) out(c) += point_embeddings_[embedding].view()(0, c);
  }

  void encode_point(const PointPrompt& point, TensorView<float, 1> out) const {
    if (point.label == kIgnored) {
      for (Index c = 0; c < width_; ++c) out(c) = not_a_point_.view()(0, c);
      return;
    }
    require(point.label >= 0 && point.label <= 3, ErrorCode::invalid_argument,
            "point label: expected 1 (object), 0 (background), 2 or 3 (first and second corner of "
            "a box) or -1 (ignored), got ",
            point.label);
    encode_corner(point.x, point.y, static_cast<std::size_t>(point.label), out);
  }

  Tensor<float, 3> make_dense_pe() const {
    Tensor<float, 3> encoding({grid_, grid_, width_});
    const auto side = static_cast<float>(grid_);
    for (Index y = 0; y < grid_; ++y) {
      for (Index x = 0; x < grid_; ++x) {
        encode_position((static_cast<float>(x) + 0.5F) / side,
                        (static_cast<float>(y) + 0.5F) / side,
                        encoding.view().select(0, y).select(0, x));
      }
    }
    return encoding;
  }

  Index width_;
  Index grid_;
  float image_size_;
  Tensor<float, 2> gaussian_;
  std::array<Tensor<float, 2>, 4> point_embeddings_;
  Tensor<float, 2> not_a_point_;
  nn::Parameter<4> no_mask_;
  nn::Conv2d<B> conv1_;
  nn::LayerNorm<B> norm1_;
  nn::Conv2d<B> conv2_;
  nn::LayerNorm<B> norm2_;
  nn::Conv2d<B> conv3_;
  Tensor<float, 3> dense_pe_host_;
  nn::Parameter<3> dense_pe_;
};

}  // namespace promiseg
