#include "segment_request.hpp"

#include <algorithm>

#include "promiseg/io/file.hpp"
#include "promiseg/io/image_reader.hpp"
#include "segment_output.hpp"

namespace promiseg::cli {
namespace {

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

/// Gives every object its pack: the one it names, or the only one.
void assign_packs(std::vector<NamedPrompt>& objects, const std::vector<std::string>& packs) {
  for (NamedPrompt& object : objects) {
    if (object.pack.empty() && packs.size() == 1) object.pack = packs.front();
    if (object.pack.empty() && packs.size() > 1) {
      throw UsageError(
          "with several packs every object must name its own (\"pack\" in the prompts "
          "file); object \"" +
          object.label + "\" does not");
    }
    if (!object.pack.empty() && std::find(packs.begin(), packs.end(), object.pack) == packs.end()) {
      throw UsageError("object \"" + object.label + "\" belongs to the pack \"" + object.pack +
                       "\": give it with --pack, or remove \"pack\" from the object");
    }
  }
}

}  // namespace

void SegmentOptions::add_to(CLI::App& command) {
  command
      .add_option("images", inputs,
                  "Images (PNG, JPEG, TIFF, DICOM), slices of NIfTI volumes as in "
                  "scan.nii.gz#coronal=120 (also axial, sagittal; then ,volume=V), or folders")
      ->required();
  command.add_option("-o,--output", output, "Folder for the results")->required();
  command.add_option("--model", model, "Model file (default: LiteMedSAM, see README)");
  CLI::Option* pack = command.add_option(
      "--pack", packs,
      "Pack (APM, IPS) for one kind of object: finds it without a prompt, or decodes yours; "
      "repeat for more");
  CLI::Option* box =
      command.add_option("--box", boxes, "X0,Y0,X1,Y1: a box around one object; repeat for more");
  CLI::Option* point = command.add_option("--point", points,
                                          "X,Y,LABEL: a point on the object (1) or beside it (0), "
                                          "or a corner of its box (2, 3); of the "
                                          "box before it if there is one");
  CLI::Option* label = command.add_option(
      "--label", labels, "Name of the object (of the --box before it), for legend and JSON");
  for (CLI::Option* option : {pack, box, point, label}) {
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->type_size(1)->expected(1);
    option->allow_extra_args(false);
  }
  command.add_option("--prompts", prompts_file, "Objects from a JSON file such as STEM.json");
  command.add_option("--mask-prompt", mask_prompt,
                     "A coarse mask: an image of the same size, or a .npy of logits");
  command.add_flag("--multimask", multimask,
                   "Predict three masks for an ambiguous prompt and take the best");
  command.add_option("--frame", frame, "Frame or page of the file, from 0")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--window", window,
                     "Intensities shown: LO,HI or auto (percentiles 0.5 to 99.5). Default: 8-bit "
                     "as it is, DICOM's own window, else auto");
  command.add_option("--threshold", threshold,
                     "Probability above which a pixel is inside; default: the pack's, else 0.5");
  command.add_option("--open", open, "Kernel in pixels of a morphological opening of the mask");
  command.add_option("--close", close, "Kernel in pixels of a morphological closing");
  command.add_option("--min-area", min_area, "Drop parts of fewer pixels");
  command.add_flag("--largest-component", largest_component, "Keep the largest part only");
  command.add_flag("--fill-holes", fill_holes, "Fill holes in the mask");
  command.add_flag("--save-embedding", save_embedding, "Also write STEM_embedding.safetensors");
  command.add_option("--embedding", embedding,
                     "Decode from a saved embedding of the image, without encoding");
  common.add_to(command);
}

MaskCleaning SegmentOptions::cleaning(MaskCleaning base) const {
  base.threshold = threshold.value_or(base.threshold);
  base.open = open.value_or(base.open);
  base.close = close.value_or(base.close);
  base.min_area = min_area.value_or(base.min_area);
  base.largest_component = base.largest_component || largest_component;
  base.fill_holes = base.fill_holes || fill_holes;
  return base;
}

std::vector<std::string> pack_names(const SegmentOptions& options) {
  std::vector<std::string> names;
  for (const std::string& pack : options.packs) {
    names.push_back(std::filesystem::path(pack).stem().string());
    if (std::count(names.begin(), names.end(), names.back()) > 1) {
      throw UsageError("two packs are called \"" + names.back() + "\"; rename one file");
    }
  }
  return names;
}

std::vector<ImageReference> list_images(const std::vector<std::string>& inputs) {
  std::vector<ImageReference> images;
  for (const std::string& input : inputs) {
    if (!std::filesystem::is_directory(input)) {
      images.push_back(parse_image_reference(input));
      require_file(images.back().path);
      continue;
    }
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(input)) {
      if (!entry.is_regular_file()) continue;
      if (looks_like_image(MappedFile(entry.path()).bytes())) found.push_back(entry.path());
    }
    require(
        !found.empty(), ErrorCode::not_found, input,
        ": the folder holds no PNG, JPEG, TIFF or DICOM file (of NIfTI volumes name the slices)");
    std::sort(found.begin(), found.end());
    images.insert(images.end(), found.begin(), found.end());
  }
  std::map<std::string, std::string> stems;
  for (const ImageReference& image : images) {
    const auto [place, added] = stems.emplace(image_stem(image), to_string(image));
    require(added, ErrorCode::invalid_argument, to_string(image), " and ", place->second,
            " would write the same results: run them into two folders");
  }
  return images;
}

void check_options(const SegmentOptions& options) {
  try {
    if (!options.window.empty()) parse_window(options.window);
    validate(options.cleaning({}));
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

void require_inputs_kept(const std::vector<ImageReference>& images, const SegmentOptions& options) {
  std::vector<std::string> inputs(options.packs);
  inputs.insert(inputs.end(), {options.prompts_file, options.mask_prompt, options.embedding});
  for (const ImageReference& image : images) inputs.push_back(image.path.string());
  for (const ImageReference& image : images) {
    for (const char* ending : {"_mask.png", "_overlay.png"}) {
      const auto result = result_path(options.output, image, ending);
      for (const std::string& input : inputs) {
        std::error_code ignored;
        require(input.empty() || !std::filesystem::equivalent(result, input, ignored),
                ErrorCode::invalid_argument, result.string(),
                ": the result would replace an input; choose another folder");
      }
    }
  }
}

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
  if (objects.empty() && options.packs.empty()) {
    throw UsageError(
        "no prompt: say what to segment with --box X0,Y0,X1,Y1, --point X,Y,LABEL, "
        "--mask-prompt or --prompts, or give a --pack that finds it");
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
  assign_packs(objects, pack_names(options));
  if (options.multimask && !options.packs.empty()) {
    throw UsageError("--multimask does not go with --pack: a pack names its mask");
  }
  return objects;
}

}  // namespace promiseg::cli
