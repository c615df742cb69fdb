// Runs a model on given tensors and writes every stage: how the numbers are checked from outside.
#include <memory>
#include <optional>

#include "backend_choice.hpp"
#include "progress.hpp"
#include "promiseg/sam/predictor.hpp"

namespace promiseg::cli {
namespace {

struct TraceOptions {
  CommonOptions common;
  std::string model;
  std::string input;
  std::string output;
};

/// The model's input [S, S, 3] from `image` [1, 3, S, S] or `pixels` [H, W, 3]; empty if the file
/// has neither.
Tensor<float, 3> read_input(const SafetensorsFile& file, const ModelConfig& config) {
  if (file.contains("image")) {
    const auto image = file.view<float, 4>("image");
    require_shape(image, Extents<4>{1, 3, config.image_size, config.image_size},
                  file.name() + ": image");
    return Tensor<float, 3>(image.select(0, 0).permuted({1, 2, 0}));
  }
  if (file.contains("pixels")) {
    const auto pixels = file.view<std::uint8_t, 3>("pixels");
    return normalise_for_model(resize_for_model(pixels, config), config);
  }
  return {};
}

/// Prompts in the model's frame from `point_coords`, `point_labels`, `boxes`, `mask_inputs`; one
/// empty prompt if the file has none, as the original decodes.
Prompts read_prompts(const SafetensorsFile& file) {
  Prompts prompts;
  const auto resize = [&](Index count, const char* name) {
    if (prompts.empty()) prompts.resize(static_cast<std::size_t>(count));
    require(count > 0 && prompts.size() == static_cast<std::size_t>(count),
            ErrorCode::shape_mismatch, file.name(), ": ", name, ": expected ", prompts.size(),
            " prompts as in the tensors before, got ", count);
  };
  if (file.contains("point_coords") || file.contains("point_labels")) {
    const auto points = file.view<float, 3>("point_coords");
    const auto labels = file.view<std::int64_t, 2>("point_labels");
    resize(points.extent(0), "point_coords");
    require_shape(points, Extents<3>{labels.extent(0), labels.extent(1), 2},
                  file.name() + ": point_coords");
    for (Index i = 0; i < points.extent(0); ++i) {
      for (Index n = 0; n < points.extent(1); ++n) {
        prompts[static_cast<std::size_t>(i)].points.push_back(
            {points(i, n, 0), points(i, n, 1), static_cast<int>(labels(i, n))});
      }
    }
  }
  if (file.contains("boxes")) {
    const auto boxes = file.view<float, 2>("boxes");
    resize(boxes.extent(0), "boxes");
    require_shape(boxes, Extents<2>{boxes.extent(0), 4}, file.name() + ": boxes");
    for (Index i = 0; i < boxes.extent(0); ++i) {
      prompts[static_cast<std::size_t>(i)].box =
          BoxPrompt{boxes(i, 0), boxes(i, 1), boxes(i, 2), boxes(i, 3)};
    }
  }
  if (file.contains("mask_inputs")) {
    const auto masks = file.view<float, 4>("mask_inputs");
    resize(masks.extent(0), "mask_inputs");
    for (Index i = 0; i < masks.extent(0); ++i) {
      prompts[static_cast<std::size_t>(i)].mask_logits =
          Tensor<float, 2>(masks.select(0, i).select(0, 0));
    }
  }
  if (prompts.empty()) prompts.emplace_back();
  return prompts;
}

/// Adds what the encoder passes on, in the shapes of the original.
void record_stage(const EncoderStage& stage, EncoderKind encoder, SafetensorsWriter& writer) {
  const auto tokens = stage.features;  // [h, w, C]
  const auto channels_first = tokens.permuted({2, 0, 1}).with_unit_axis(0);
  const std::string index = std::to_string(stage.index);
  switch (stage.kind) {
    case EncoderStage::Kind::patch_embed:
      writer.adopt("patch_embed",
                   encoder == EncoderKind::vit ? tokens.with_unit_axis(0) : channels_first);
      break;
    case EncoderStage::Kind::block:
      writer.adopt("block." + index, tokens.with_unit_axis(0));
      writer.adopt("tap." + std::to_string(stage.index + 1), channels_first);
      break;
    case EncoderStage::Kind::stage:
      writer.adopt(
          "stage." + index,
          tokens.reshaped(Extents<3>{1, tokens.extent(0) * tokens.extent(1), tokens.extent(2)}));
      writer.adopt("tap." + index, channels_first);
      break;
  }
}

/// The embedding [grid, grid, C]: given, or made from the input.
template <Backend B>
Tensor<float, 3> make_embedding(SamModel<B>& model, const SafetensorsFile& file,
                                const TraceOptions& options, SafetensorsWriter& writer) {
  const ModelConfig& config = model.config();
  const Tensor<float, 3> input = read_input(file, config);
  if (input.empty()) {
    require(file.contains("embedding"), ErrorCode::not_found, file.name(),
            ": expected a tensor `image`, `pixels` or `embedding`");
    return Tensor<float, 3>(file.view<float, 4>("embedding").select(0, 0).permuted({1, 2, 0}));
  }
  ProgressBar progress("encoding", !options.common.quiet);
  return model.encode(input, [&](const EncoderStage& stage) {
    progress.update(stage.index + 1, stage.count);
    record_stage(stage, config.encoder, writer);
  });
}

template <Backend B>
void trace_with(B backend, const TraceOptions& options) {
  const SafetensorsFile file(options.input);
  Predictor<B> predictor(std::move(backend), ModelFile(find_model(options.model)));
  SamModel<B>& model = predictor.model();
  const Prompts prompts = read_prompts(file);
  SafetensorsWriter writer;
  const Tensor<float, 3> embedding = make_embedding(model, file, options, writer);
  const auto channels_first = [](const Tensor<float, 3>& image) {
    return image.view().permuted({2, 0, 1}).with_unit_axis(0);
  };
  const EncodedPrompts encoded = model.encode_prompts(prompts);
  const DecodedMasks decoded = model.decode(embedding.view(), prompts);
  const Index several = model.config().num_multimask_outputs;
  writer.adopt("embedding", channels_first(embedding));
  writer.adopt("dense_pe", channels_first(model.prompt_encoder().dense_pe_host()));
  writer.adopt("sparse", encoded.sparse.view());
  writer.adopt("dense", encoded.dense.view().permuted({0, 3, 1, 2}));
  writer.adopt("low_res_logits", decoded.logits.view().slice(1, 0, 1));
  writer.adopt("iou", decoded.iou.view().slice(1, 0, 1));
  writer.adopt("low_res_logits_multi", decoded.logits.view().slice(1, 1, several));
  writer.adopt("iou_multi", decoded.iou.view().slice(1, 1, several));
  writer.write(options.output);
  options.common.say("wrote " + options.output);
  options.common.print(Json::Object{{"output", options.output}});
}

}  // namespace

void add_trace_command(CLI::App& app) {
  auto options = std::make_shared<TraceOptions>();
  CLI::App* command = app.add_subcommand(
      "trace", "Run a model on tensors and write the result of every stage, for comparison");
  command->add_option("--model", options->model, "Model file (default: LiteMedSAM, see README)");
  command
      ->add_option("--input", options->input,
                   "safetensors with `image` [1,3,S,S] f32, `pixels` [H,W,3] u8 or `embedding`, "
                   "and prompts in model pixels: `point_coords` [B,N,2], `point_labels` [B,N] i64, "
                   "`boxes` [B,4], `mask_inputs` [B,1,h,w]")
      ->required();
  command->add_option("-o,--output", options->output, "safetensors to write")->required();
  options->common.add_to(*command);
  command->callback([options] {
    with_backend(options->common, [&](auto backend) { trace_with(std::move(backend), *options); });
  });
}

}  // namespace promiseg::cli
