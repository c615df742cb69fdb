// What a pack sees is a value. Its points are printed, one is moved, removed or added, and the mask
// is decoded again from the same embedding: the encoder, the slow part, runs once.
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <optional>
#include <promiseg/eigen/backend.hpp>
#include <promiseg/io/image_file.hpp>
#include <promiseg/promiseg.hpp>

namespace {

constexpr const char* kUsage =
    "usage: correct_prompt MODEL PACK IMAGE CHANGE BEFORE.png AFTER.png\n"
    "  CHANGE   move=N,X,Y or remove=N or add=X,Y,LABEL\n"
    "  N        the point's number as printed, from 1\n"
    "  X,Y      pixels of the image, from its top left\n"
    "  LABEL    1 object, 0 background, 2 and 3 the corners of a box\n";

struct Change {
  enum class Kind { move, remove, add } kind = Kind::add;
  std::size_t number = 0;  ///< of the point, from 1
  promiseg::PointPrompt point;
};

/// The change that the text asks for; none if it is no such thing.
std::optional<Change> parse_change(const char* text) {
  Change change;
  auto& [kind, number, point] = change;
  char rest = 0;  // read only if something follows
  if (std::sscanf(text, "move=%zu,%f,%f%c", &number, &point.x, &point.y, &rest) == 3) {
    kind = Change::Kind::move;
  } else if (std::sscanf(text, "remove=%zu%c", &number, &rest) == 1) {
    kind = Change::Kind::remove;
  } else if (std::sscanf(text, "add=%f,%f,%d%c", &point.x, &point.y, &point.label, &rest) != 3 ||
             point.label < 0 || point.label > 3) {
    return std::nullopt;
  }
  return change;
}

void apply(const Change& change, std::vector<promiseg::PointPrompt>& points) {
  if (change.kind == Change::Kind::add) {
    points.push_back(change.point);
    return;
  }
  promiseg::require(change.number >= 1 && change.number <= points.size(),
                    promiseg::ErrorCode::invalid_argument, "there is no point ", change.number,
                    ", the pack predicted ", points.size());
  const auto found = points.begin() + static_cast<std::ptrdiff_t>(change.number) - 1;
  if (change.kind == Change::Kind::remove) {
    points.erase(found);
  } else {
    *found = {change.point.x, change.point.y, found->label};
  }
}

void print(const char* title, const promiseg::Prompt& prompt) {
  std::cout << title << '\n';
  for (std::size_t i = 0; i < prompt.points.size(); ++i) {
    const auto& [x, y, label] = prompt.points[i];
    std::cout << "  " << i + 1 << ": " << x << ',' << y << " label " << label << '\n';
  }
}

/// What `work` returns; how long it took is printed.
template <class Work>
auto timed(const char* name, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  auto result = work();
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  std::cout << name << ": " << time.count() << " ms\n";
  return result;
}

void run(const Change& change, const char* model_path, const char* pack_path,
         const char* image_path, const char* before_path, const char* after_path) {
  const promiseg::ModelFile model(model_path);
  promiseg::Predictor predictor(promiseg::EigenBackend(), model);
  promiseg::Pack pack(predictor, promiseg::PackFile(pack_path));
  const promiseg::Image image = promiseg::to_8bit(promiseg::read_image_file(image_path));

  const auto embedding = timed("encode", [&] { return predictor.encode(image, pack.taps()); });
  promiseg::Prompts prompts = timed("predict prompts", [&] { return pack.prompts(embedding); });
  promiseg::require(!prompts.empty(), promiseg::ErrorCode::invalid_argument, pack_path,
                    ": this pack predicts no prompts, so there is nothing to correct");
  print("predicted points:", prompts.front());
  const auto before = timed("decode", [&] { return pack.predict(embedding, prompts).front(); });

  apply(change, prompts.front().points);
  print("corrected points:", prompts.front());
  const auto after =
      timed("decode again", [&] { return pack.predict(embedding, prompts).front(); });

  promiseg::write_png(before_path, before.masks[before.best()].view());
  promiseg::write_png(after_path, after.masks[after.best()].view());
}

}  // namespace

int main(int argc, char** argv) try {
  const std::optional<Change> change = argc == 7 ? parse_change(argv[4]) : std::nullopt;
  if (!change) {
    std::cerr << kUsage;
    return 2;
  }
  run(*change, argv[1], argv[2], argv[3], argv[5], argv[6]);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "correct_prompt: " << error.what() << '\n';
  return 1;
}
