// promiseg segment: images and prompts in, masks, overlays and a record of what was done out.
#include <algorithm>
#include <chrono>
#include <memory>

#include "mask_prompt.hpp"
#include "open_segmenter.hpp"
#include "progress.hpp"
#include "promiseg/io/image_reader.hpp"
#include "segment_output.hpp"
#include "segment_request.hpp"
#include "trained_window.hpp"

namespace promiseg::cli {
namespace {

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

/// The embedding of an image: a saved one, or a new one.
ImageEmbedding embed(Segmenter& segmenter, const Image& image, const SegmentOptions& options,
                     const std::string& title) {
  if (!options.embedding.empty()) {
    ImageEmbedding embedding = load_embedding(options.embedding);
    const ImageSize size{image.extent(0), image.extent(1)};
    require(embedding.geometry.original == size, ErrorCode::invalid_argument, options.embedding,
            ": made from an image of ", embedding.geometry.original.width, " x ",
            embedding.geometry.original.height, " pixels, this one has ", size.width, " x ",
            size.height);
    return embedding;
  }
  ProgressBar progress(title, !options.common.quiet);
  return segmenter.encode(image, [&](const EncoderStage& stage) {
    if (stage.kind != EncoderStage::Kind::patch_embed) {
      progress.update(stage.index + 1, stage.count);
    }
  });
}

/// Throws `UsageError` if a pack is to find its object and cannot.
void require_own_prompts(const Segmenter& segmenter, const SegmentOptions& options) {
  const std::vector<std::string> names = pack_names(options);
  for (std::size_t pack = 0; pack < names.size(); ++pack) {
    const PackConfig& config = segmenter.pack_config(pack);
    if (config.apm == ApmKind::none && config.own_prompt == OwnPrompt::none) {
      throw UsageError("the pack \"" + names[pack] +
                       "\" predicts no prompts: give them with --box, --point or --prompts");
    }
  }
}

/// The prompts that the packs predict for an image, one object each.
std::vector<NamedPrompt> predicted_objects(Segmenter& segmenter, const ImageEmbedding& embedding,
                                           const SegmentOptions& options) {
  const std::vector<std::string> names = pack_names(options);
  std::vector<NamedPrompt> objects;
  for (std::size_t pack = 0; pack < names.size(); ++pack) {
    const std::string& label = segmenter.pack_config(pack).label;
    Prompts prompts = segmenter.pack_prompts(pack, embedding);
    for (Prompt& prompt : prompts) {
      objects.push_back({label.empty() ? names[pack] : label, names[pack], std::move(prompt)});
    }
  }
  return objects;
}

/// Decodes every object with its pack, or with the frozen model alone.
std::vector<Prediction> predict(Segmenter& segmenter, const ImageEmbedding& embedding,
                                const std::vector<NamedPrompt>& objects,
                                const SegmentOptions& options) {
  const std::vector<std::string> names = pack_names(options);
  std::vector<Prediction> predictions;
  for (std::size_t begin = 0; begin < objects.size();) {
    // Neighbours with the same pack go together.
    Prompts prompts;
    std::size_t end = begin;
    for (; end < objects.size() && objects[end].pack == objects[begin].pack; ++end) {
      prompts.push_back(objects[end].prompt);
    }
    std::vector<Prediction> some;
    const auto name = std::find(names.begin(), names.end(), objects[begin].pack);
    if (name == names.end()) {
      some = segmenter.predict(embedding, prompts,
                               {.multimask = options.multimask, .cleaning = options.cleaning({})});
    } else {
      const auto pack = static_cast<std::size_t>(name - names.begin());
      some = segmenter.predict_with_pack(pack, embedding, prompts,
                                         options.cleaning(segmenter.pack_config(pack).cleaning));
    }
    std::move(some.begin(), some.end(), std::back_inserter(predictions));
    begin = end;
  }
  return predictions;
}

Json segment_image(Segmenter& segmenter, const ImageReference& reference,
                   std::vector<NamedPrompt> objects, const SegmentOptions& options) {
  const std::optional<Window> window =
      options.window.empty() ? std::nullopt : std::optional(parse_window(options.window));
  const Image image = to_8bit(read_image(reference, options.frame), window);

  const auto encoding = std::chrono::steady_clock::now();
  const ImageReference short_name(reference.path.filename(), reference.slice);
  const ImageEmbedding embedding =
      embed(segmenter, image, options, "encoding " + to_string(short_name));
  const double encode_ms = milliseconds_since(encoding);

  if (!options.mask_prompt.empty()) {
    objects.front().prompt.mask_logits =
        read_mask_prompt(options.mask_prompt, embedding.geometry, 4 * segmenter.config().grid());
  }
  const auto decoding = std::chrono::steady_clock::now();
  if (objects.empty()) objects = predicted_objects(segmenter, embedding, options);
  const std::vector<Prediction> predictions = predict(segmenter, embedding, objects, options);
  const double decode_ms = milliseconds_since(decoding);

  SegmentResult result{reference,   image, embedding.geometry,      objects,
                       predictions, {},    options.common.precision};
  result.times_ms = {{"encode", encode_ms}, {"decode", decode_ms}};
  Json written = write_results(result, options.output);
  if (options.save_embedding) {
    const auto file = result_path(options.output, reference, "_embedding.safetensors");
    save_embedding(embedding, file);
    written.set("embedding", file.string());
  }
  return written;
}

/// Says so where nothing was found: an empty mask is a result, and easily overlooked.
void warn_of_empty_masks(const CommonOptions& options, const Json& written) {
  for (const Json& object : written.at("objects").as_array()) {
    if (object.at("area_pixels").as_integer() > 0) continue;
    const Json* label = object.find("label");
    const bool named = label != nullptr && !label->as_string().empty();
    options.say("Note: " + (named ? "\"" + label->as_string() + "\"" : std::string("an object")) +
                " has an empty mask. LiteMedSAM, for one, needs boxes rather than points.");
  }
}

void segment(const CLI::App& command, const SegmentOptions& options) {
  check_options(options);
  const std::vector<NamedPrompt> objects = requested_objects(command, options);
  const std::vector<ImageReference> images = list_images(options.inputs);
  require_inputs_kept(images, options);
  if (!options.embedding.empty() && images.size() > 1) {
    throw UsageError("--embedding is of one image, there are " + std::to_string(images.size()));
  }
  Segmenter segmenter =
      open_segmenter(options.common, find_model(options.model), options.packs,
                     std::clamp<std::size_t>(objects.size(), 1, kMaxDecodedAtOnce));
  if (objects.empty()) require_own_prompts(segmenter, options);
  for (const std::string& pack : options.packs) {
    warn_of_other_window(options.common, pack, options.window);
  }
  std::filesystem::create_directories(options.output);
  Json results;
  for (std::size_t i = 0; i < images.size(); ++i) {
    Json written;
    try {
      written = segment_image(segmenter, images[i], objects, options);
    } catch (const Error& error) {
      if (images.size() == 1) throw;
      fail(error.code(), "image ", i + 1, " of ", images.size(), ", ", to_string(images[i]), ": ",
           error.what(), "; those before it are done, those after it are not");
    }
    warn_of_empty_masks(options.common, written);
    for (const char* file : {"mask", "overlay", "json", "embedding"}) {
      if (const Json* path = written.find(file)) options.common.say(path->as_string());
    }
    results.push_back(std::move(written));
  }
  options.common.print(Json::Object{{"images", std::move(results)}});
}

}  // namespace

void add_segment_command(CLI::App& app) {
  auto options = std::make_shared<SegmentOptions>();
  CLI::App* command = app.add_subcommand("segment", "Segment objects in images");
  command->footer(
      "Coordinates are pixels of the image, (0,0) its top left. Written per image, into DIR:\n"
      "  STEM_mask.png     0 and 255; with several objects the number of the object, from 1\n"
      "  STEM_overlay.png  the image with outlines, prompts and a legend\n"
      "  STEM.json         scores, prompts, times, geometry; edit its prompts and give it back\n"
      "                    with --prompts\n"
      "Example: two objects in an MR slice\n"
      "  promiseg segment mr.dcm --window auto --box 50,78,178,195 --label liver \\\n"
      "      --box 115,188,187,250 --label kidney -o out\n"
      "Example: let a pack find its object, correct what it saw, and decode again\n"
      "  promiseg segment scan.png --pack lesion.safetensors --save-embedding -o out\n"
      "  promiseg segment scan.png --pack lesion.safetensors --prompts out/scan.json \\\n"
      "      --embedding out/scan_embedding.safetensors -o out");
  options->add_to(*command);
  command->callback([options, command] { segment(*command, *options); });
}

}  // namespace promiseg::cli
