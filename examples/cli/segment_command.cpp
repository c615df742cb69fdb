// promiseg segment: images and prompts in, masks, overlays and a record of what was done out.
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "backend_choice.hpp"
#include "mask_prompt.hpp"
#include "progress.hpp"
#include "promiseg/io/image_reader.hpp"
#include "promiseg/promiseg.hpp"
#include "prompt_arguments.hpp"
#include "segment_output.hpp"

namespace promiseg::cli {
namespace {

struct SegmentOptions {
  CommonOptions common;
  std::vector<std::string> inputs;
  std::string model;
  std::vector<std::string> boxes;
  std::vector<std::string> points;
  std::vector<std::string> labels;
  std::string prompts_file;
  std::string mask_prompt;
  std::string window;
  std::string embedding;
  std::string output;
  Index frame = 0;
  bool multimask = false;
  bool save_embedding = false;
};

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

/// The boxes, points and labels in the order in which they were given.
std::vector<PromptArgument> ordered_arguments(const CLI::App& command,
                                              const SegmentOptions& options) {
  struct Source {
    PromptArgument::Kind kind;
    const std::vector<std::string>* values;
    std::size_t next = 0;
  };
  std::map<const CLI::Option*, Source> sources = {
      {command.get_option("--box"), {PromptArgument::Kind::box, &options.boxes}},
      {command.get_option("--point"), {PromptArgument::Kind::point, &options.points}},
      {command.get_option("--label"), {PromptArgument::Kind::label, &options.labels}}};
  std::vector<PromptArgument> arguments;
  for (const CLI::Option* option : command.parse_order()) {
    const auto source = sources.find(option);
    if (source == sources.end()) continue;
    auto& [kind, values, next] = source->second;
    if (next < values->size()) arguments.push_back({kind, (*values)[next++]});
  }
  return arguments;
}

/// The files that the arguments name: files as they are, of folders all files that begin like an
/// image. Throws if there are none, or if two would write the same results.
std::vector<std::filesystem::path> list_images(const std::vector<std::string>& inputs) {
  std::vector<std::filesystem::path> images;
  for (const std::string& input : inputs) {
    if (!std::filesystem::is_directory(input)) {
      images.emplace_back(input);
      continue;
    }
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(input)) {
      if (!entry.is_regular_file()) continue;
      if (detect_image_format(MappedFile(entry.path()).bytes())) found.push_back(entry.path());
    }
    require(!found.empty(), ErrorCode::not_found, input,
            ": the folder holds no PNG, JPEG, TIFF or DICOM file");
    std::sort(found.begin(), found.end());
    images.insert(images.end(), found.begin(), found.end());
  }
  std::map<std::string, std::filesystem::path> stems;
  for (const auto& image : images) {
    const auto [place, added] = stems.emplace(image.stem().string(), image);
    require(added, ErrorCode::invalid_argument, image.string(), " and ", place->second.string(),
            " would write the same results: run them into two folders");
  }
  return images;
}

/// What the user asked for, checked before any work.
std::vector<NamedPrompt> requested_objects(const CLI::App& command, const SegmentOptions& options) {
  std::vector<NamedPrompt> objects = parse_prompt_arguments(ordered_arguments(command, options));
  if (!options.prompts_file.empty()) {
    if (!objects.empty()) {
      throw UsageError("--prompts stands for --box, --point and --label: give one or the other");
    }
    objects = read_prompts_json(options.prompts_file);
  }
  if (!options.mask_prompt.empty()) {
    if (objects.empty()) objects.emplace_back();
    if (objects.size() > 1) {
      throw UsageError("--mask-prompt goes with one object, there are " +
                       std::to_string(objects.size()));
    }
  }
  if (objects.empty()) {
    throw UsageError(
        "no prompt: say what to segment with --box X0,Y0,X1,Y1, --point X,Y,LABEL, "
        "--mask-prompt or --prompts");
  }
  for (const NamedPrompt& object : objects) {
    if (object.prompt.points.empty() && !object.prompt.box && options.mask_prompt.empty()) {
      throw UsageError("object \"" + object.label + "\" has neither a box nor a point");
    }
  }
  if (objects.size() > kMaxLabels) {
    throw UsageError("at most " + std::to_string(kMaxLabels) + " objects fit into a label image, " +
                     std::to_string(objects.size()) + " were given");
  }
  return objects;
}

Segmenter open_segmenter(const SegmentOptions& options) {
  const ModelFile model(find_model(options.model));
  return with_backend(options.common,
                      [&](auto backend) { return Segmenter(std::move(backend), model); });
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

Json segment_image(Segmenter& segmenter, const std::filesystem::path& path,
                   std::vector<NamedPrompt> objects, const SegmentOptions& options) {
  const std::optional<Window> window =
      options.window.empty() ? std::nullopt : std::optional(parse_window(options.window));
  const Image image = to_8bit(read_image(path, options.frame), window);

  const auto encoding = std::chrono::steady_clock::now();
  const ImageEmbedding embedding =
      embed(segmenter, image, options, "encoding " + path.filename().string());
  const double encode_ms = milliseconds_since(encoding);

  if (!options.mask_prompt.empty()) {
    objects.front().prompt.mask_logits =
        read_mask_prompt(options.mask_prompt, embedding.geometry, 4 * segmenter.config().grid());
  }
  Prompts prompts;
  for (const NamedPrompt& object : objects) prompts.push_back(object.prompt);
  const auto decoding = std::chrono::steady_clock::now();
  const std::vector<Prediction> predictions =
      segmenter.predict(embedding, prompts, {.multimask = options.multimask});
  const double decode_ms = milliseconds_since(decoding);

  SegmentResult result{path, image, embedding.geometry, objects, predictions, {}};
  result.times_ms = {{"encode", encode_ms}, {"decode", decode_ms}};
  Json written = write_results(result, options.output);
  if (options.save_embedding) {
    const auto file = result_path(options.output, path, "_embedding.safetensors");
    save_embedding(embedding, file);
    written.set("embedding", file.string());
  }
  return written;
}

void segment(const CLI::App& command, const SegmentOptions& options) {
  const std::vector<NamedPrompt> objects = requested_objects(command, options);
  if (!options.window.empty()) parse_window(options.window);
  const std::vector<std::filesystem::path> images = list_images(options.inputs);
  for (const auto& image : images) require_file(image);
  if (!options.embedding.empty() && images.size() > 1) {
    throw UsageError("--embedding is of one image, there are " + std::to_string(images.size()));
  }
  Segmenter segmenter = open_segmenter(options);
  std::filesystem::create_directories(options.output);
  Json results;
  for (const auto& image : images) {
    Json written = segment_image(segmenter, image, objects, options);
    for (const auto& [name, value] : written.as_object()) {
      if (value.is_string() && name != "image") options.common.say(value.as_string());
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
      "      --box 115,188,187,250 --label kidney -o out");
  command->add_option("images", options->inputs, "Images (PNG, JPEG, TIFF, DICOM) or folders")
      ->required();
  command->add_option("-o,--output", options->output, "Folder for the results")->required();
  command->add_option("--model", options->model, "Model file (default: LiteMedSAM, see README)");
  CLI::Option* box = command->add_option("--box", options->boxes,
                                         "X0,Y0,X1,Y1: a box around one object; repeat for more");
  CLI::Option* point = command->add_option("--point", options->points,
                                           "X,Y,LABEL: a point on the object (1) or beside it (0), "
                                           "of the box before it if there is one");
  CLI::Option* label =
      command->add_option("--label", options->labels, "NAME of the object of the box before it");
  for (CLI::Option* option : {box, point, label}) {
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->type_size(1)->expected(1);
    option->allow_extra_args(false);
  }
  command->add_option("--prompts", options->prompts_file,
                      "Objects from a JSON file such as STEM.json");
  command->add_option("--mask-prompt", options->mask_prompt,
                      "A coarse mask: an image of the same size, or a .npy of logits");
  command->add_flag("--multimask", options->multimask,
                    "Predict three masks for an ambiguous prompt and take the best");
  command->add_option("--frame", options->frame, "Frame or page of the file, from 0")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--window", options->window,
                      "Intensities shown: LO,HI or auto (percentiles 0.5 to 99.5). Default: 8-bit "
                      "as it is, DICOM's own window, else auto");
  command->add_flag("--save-embedding", options->save_embedding,
                    "Also write STEM_embedding.safetensors");
  command->add_option("--embedding", options->embedding,
                      "Decode from a saved embedding of the image, without encoding");
  options->common.add_to(*command);
  command->callback([options, command] { segment(*command, *options); });
}

}  // namespace promiseg::cli
