// Runs a model on given tensors and writes every stage: how the numbers are checked from outside.
#include <memory>
#include <optional>

#include "backend_choice.hpp"
#include "memory_plan.hpp"
#include "progress.hpp"
#include "promiseg/adapt/pack.hpp"

namespace promiseg::cli {
namespace {

struct TraceOptions {
  CommonOptions common;
  std::string model;
  std::string pack;
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

/// Prompts in the model's frame from `point_coords`, `point_labels`, `boxes`, `mask_inputs`; none
/// if the file has none.
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
        const std::int64_t label = labels(i, n);
        require(label >= -1 && label <= 3, ErrorCode::invalid_argument, file.name(),
                ": point_labels: expected -1 to 3, got ", label);
        prompts[static_cast<std::size_t>(i)].points.push_back(
            {points(i, n, 0), points(i, n, 1), static_cast<int>(label)});
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

/// The embedding and the taps of `wanted`: given, or made from the input.
template <Backend B>
EncodedImage encode(SamModel<B>& model, const SafetensorsFile& file, std::span<const Index> wanted,
                    const TraceOptions& options, SafetensorsWriter& writer) {
  const ModelConfig& config = model.config();
  const Tensor<float, 3> input = read_input(file, config);
  if (input.empty()) {
    require(file.contains("embedding"), ErrorCode::not_found, file.name(),
            ": expected a tensor `image`, `pixels` or `embedding`");
    return {read_features(file, "embedding"), read_taps(file)};
  }
  ProgressBar progress("encoding", !options.common.quiet);
  return model.encode(input, wanted, [&](const EncoderStage& stage) {
    progress.update(stage.index + 1, stage.count);
    record_stage(stage, config.encoder, writer);
  });
}

void adopt_image(SafetensorsWriter& writer, const std::string& name,
                 const Tensor<float, 3>& image) {
  writer.adopt(name, image.view().permuted({2, 0, 1}).with_unit_axis(0));
}

/// Runs the pack's modules: writes what they make, fills the prompts in if there are none, and
/// returns the increment of the mask tokens.
template <Backend B>
Tensor<float, 2> run_pack(Pack<B>& pack, const EncodedImage& image, Prompts& prompts,
                          SafetensorsWriter& writer) {
  PredictedPoints predicted;
  if (pack.config().apm != ApmKind::none) {
    predicted = pack.adapter().predict_points(image.taps);
    if (!predicted.fused.empty()) adopt_image(writer, "apm.fused", predicted.fused);
    writer.adopt("apm.points", predicted.coordinates.view().with_unit_axis(0));
  }
  if (prompts.empty()) prompts = pack.frame_prompts(predicted);
  const Tensor<float, 2> shift = pack.adapter().token_shift(image.embedding);
  if (!shift.empty()) writer.adopt("ips.tokens", shift.view().with_unit_axis(0));
  return shift;
}

template <Backend B>
void trace_with(B backend, const TraceOptions& options) {
  const SafetensorsFile file(options.input);
  Prompts prompts = read_prompts(file);
  const ModelFile model_file(find_model(options.model));
  std::vector<PackFile> pack_files;
  if (!options.pack.empty()) pack_files.emplace_back(options.pack);
  require_enough_memory(options.common, model_file, pack_files,
                        std::max<std::size_t>(prompts.size(), 1));
  Predictor<B> predictor(std::move(backend), model_file);
  SamModel<B>& model = predictor.model();
  std::optional<Pack<B>> pack;
  if (!pack_files.empty()) pack.emplace(predictor, pack_files.front());
  SafetensorsWriter writer;
  const EncodedImage image =
      encode(model, file, pack.has_value() ? pack->taps() : std::vector<Index>{}, options, writer);
  Tensor<float, 2> shift;
  Index mask_token = 0;
  if (pack.has_value()) {
    shift = run_pack(*pack, image, prompts, writer);
    mask_token = pack->config().mask_token;
  }
  if (prompts.empty()) prompts.emplace_back();  // the original decodes without a prompt, too
  PromptedDecoder<B>& decoder = pack.has_value() ? pack->decoder() : model.decoder();
  const EncodedPrompts encoded = decoder.encode_prompts(prompts);
  const DecodedMasks decoded =
      decoder.decode(image.embedding.view(), prompts,
                     shift.empty() ? TensorView<const float, 2>{} : std::as_const(shift).view());
  const Index several = model.config().num_multimask_outputs;
  adopt_image(writer, "embedding", image.embedding);
  adopt_image(writer, "dense_pe", model.prompt_encoder().dense_pe_host());
  writer.adopt("sparse", encoded.sparse.view());
  writer.adopt("dense", encoded.dense.view().permuted({0, 3, 1, 2}));
  writer.adopt("low_res_logits", decoded.logits.view().slice(1, mask_token, 1));
  writer.adopt("iou", decoded.iou.view().slice(1, mask_token, 1));
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
  command->add_option("--pack", options->pack, "Pack file whose modules run as well");
  command
      ->add_option("--input", options->input,
                   "safetensors with `image` [1,3,S,S] f32, `pixels` [H,W,3] u8 or `embedding`, "
                   "(with `tap.N`), and prompts in model pixels: `point_coords` [B,N,2], "
                   "`point_labels` [B,N] i64, "
                   "`boxes` [B,4], `mask_inputs` [B,1,h,w]")
      ->required();
  command->add_option("-o,--output", options->output, "safetensors to write")->required();
  options->common.add_to(*command);
  command->callback([options] {
    with_backend(options->common, [&](auto backend) { trace_with(std::move(backend), *options); });
  });
}

}  // namespace promiseg::cli
