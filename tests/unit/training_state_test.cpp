// A run on disk: what is written comes back bit for bit, and nothing else is taken for it.
#include "promiseg/train/training_state.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hostile_files.hpp"
#include "synth.hpp"
#include "temporary_folder.hpp"

using namespace promiseg;
using namespace promiseg_test;
using promiseg::train::EpochRecord;
using promiseg::train::load_state;
using promiseg::train::RunPosition;
using promiseg::train::save_state;
namespace fs = std::filesystem;

namespace {

constexpr const char* kWeight = "ips_ffn.lin1.weight";
constexpr const char* kUnused = "apm_resnet.fc2.weight";  // never has a gradient
constexpr const char* kStatistics = "apm_resnet.bn1.running_mean";
constexpr const char* kFrozen = "mask_decoder.iou_token.weight";

train::Role role_for(const std::string& name) {
  if (name == kFrozen) return train::Role::frozen;
  return name == kStatistics ? train::Role::statistics : train::Role::trained;
}

/// A few tensors of every role, and their optimiser.
struct Run {
  tools::SynthWeights source;
  train::Parameters parameters;
  train::Adam optimiser;

  explicit Run(std::uint64_t seed)
      : source(seed), parameters(source, role_for), optimiser(train::OptimiserConfig{}) {
    parameters.get(kWeight, Extents<2>{3, 5});
    parameters.get(kUnused, Extents<2>{2, 4});
    parameters.get(kStatistics, Extents<1>{6});
    parameters.get(kFrozen, Extents<2>{1, 4});
    parameters.at(kWeight).used = true;
  }

  /// A step of the optimiser on a gradient of that size.
  void step(float slope) {
    parameters.clear_gradients();
    float at = 0.5F;
    for (float& gradient : parameters.at(kWeight).gradient) gradient = slope * (at *= -1.3F);
    optimiser.step(parameters, 0.01);
  }
};

/// Sums that no short decimal number is equal to.
RunPosition some_position() {
  RunPosition position;
  position.epoch = 3;
  position.step = 2;
  position.loss_sum = 0.1;
  position.dice_sum = 1.0 / 3;
  position.best_dice = 0.1 + 0.2;
  position.best_epoch = 2;
  position.seconds = 1e-300;
  position.records = {{1, 1e-3, 0.1, 2.0 / 3, 0.1 + 0.2, 12.5},
                      {2, 0.1 * 0.1, 1e300, 1, 0, 7},
                      {3, 1e-17, 1.0 / 7, 0.9, 0.7, 123456789.123}};
  return position;
}

template <class Numbers>
std::vector<std::uint32_t> bits(const Numbers& numbers) {
  std::vector<std::uint32_t> result;
  for (float number : numbers) result.push_back(std::bit_cast<std::uint32_t>(number));
  return result;
}

std::uint64_t bits(double number) { return std::bit_cast<std::uint64_t>(number); }

void check_same(const Run& a, const Run& b) {
  REQUIRE(a.parameters.all().size() == b.parameters.all().size());
  for (const auto& item : a.parameters.all()) {
    CAPTURE(item.first);
    CHECK((bits(item.second.value) == bits(b.parameters.all().at(item.first).value)));
  }
  REQUIRE(a.optimiser.moments().size() == b.optimiser.moments().size());
  for (const auto& item : a.optimiser.moments()) {
    CAPTURE(item.first);
    REQUIRE(b.optimiser.moments().contains(item.first));
    const train::Adam::Moments& other = b.optimiser.moments().at(item.first);
    CHECK(item.second.steps == other.steps);
    CHECK((bits(item.second.mean) == bits(other.mean)));
    CHECK((bits(item.second.square) == bits(other.square)));
  }
}

void check_same(const RunPosition& a, const RunPosition& b) {
  CHECK(a.epoch == b.epoch);
  CHECK(a.step == b.step);
  CHECK(a.best_epoch == b.best_epoch);
  CHECK(bits(a.loss_sum) == bits(b.loss_sum));
  CHECK(bits(a.dice_sum) == bits(b.dice_sum));
  CHECK(bits(a.best_dice) == bits(b.best_dice));
  CHECK(bits(a.seconds) == bits(b.seconds));
  REQUIRE(a.records.size() == b.records.size());
  for (std::size_t i = 0; i < a.records.size(); ++i) {
    CAPTURE(i);
    const EpochRecord& before = a.records[i];
    const EpochRecord& after = b.records[i];
    CHECK(before.epoch == after.epoch);
    CHECK(bits(before.rate) == bits(after.rate));
    CHECK(bits(before.loss) == bits(after.loss));
    CHECK(bits(before.train_dice) == bits(after.train_dice));
    CHECK(bits(before.val_dice) == bits(after.val_dice));
    CHECK(bits(before.seconds) == bits(after.seconds));
  }
}

/// Loading must fail with a message that names the file, and change nothing. Returns the message.
std::string check_refused(const fs::path& path, const std::string& run, ErrorCode code) {
  Run before(1);
  Run after(1);
  before.step(1.0F);
  after.step(1.0F);
  try {
    load_state(path, run, after.parameters, after.optimiser);
  } catch (const Error& error) {
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(error.code() == code);
    CHECK(message.find(path.string()) != std::string::npos);
    check_same(before, after);
    return message;
  }
  FAIL("accepted: " << path.string());
  return {};
}

}  // namespace

TEST_CASE("training state: everything comes back bit for bit") {
  const TemporaryFolder folder;
  const fs::path path = folder / "pack.state";
  Run run(1);
  run.step(1.0F);
  run.step(0.3F);
  auto& weight = run.parameters.at(kWeight).value;
  weight[0] = -0.0F;
  weight[1] = 1e-40F;  // subnormal
  weight[2] = std::numeric_limits<float>::infinity();
  weight[3] = 16777217.0F / 3.0F;
  run.parameters.at(kStatistics).value[5] = 0.1F;
  const RunPosition position = some_position();
  save_state(path, "the run", position, run.parameters, run.optimiser);

  Run other(2);
  other.step(5.0F);
  CHECK((bits(other.parameters.at(kUnused).value) != bits(run.parameters.at(kUnused).value)));
  check_same(load_state(path, "the run", other.parameters, other.optimiser), position);
  check_same(run, other);
  CHECK(other.optimiser.moments().at(kWeight).steps == 2);
  CHECK_FALSE(other.optimiser.moments().contains(kUnused));
  CHECK_FALSE(other.optimiser.moments().contains(kStatistics));

  // And so does what follows.
  run.step(-2.0F);
  other.step(-2.0F);
  check_same(run, other);
}

TEST_CASE("training state: before the first step, and with nothing to record") {
  const TemporaryFolder folder;
  Run run(1);
  save_state(folder / "state", "", {}, run.parameters, run.optimiser);
  Run other(2);
  other.step(1.0F);  // has moments, which the state has not
  check_same(load_state(folder / "state", "", other.parameters, other.optimiser), RunPosition());
  check_same(run, other);
  CHECK(other.optimiser.moments().empty());
}

TEST_CASE("training state: the last one written counts, and it is the only file") {
  const TemporaryFolder folder;
  const fs::path path = folder / "state";
  Run run(1);
  save_state(path, "run", {}, run.parameters, run.optimiser);
  run.step(1.0F);
  save_state(path, "run", some_position(), run.parameters, run.optimiser);
  Run other(2);
  check_same(load_state(path, "run", other.parameters, other.optimiser), some_position());
  check_same(run, other);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("training state: that of another run is refused") {
  const TemporaryFolder folder;
  const fs::path path = folder / "pack.state";
  Run run(3);
  save_state(path, "rate 1", some_position(), run.parameters, run.optimiser);
  for (const char* name : {"rate 2", "", "rate 1 "}) {
    CAPTURE(name);
    const std::string message = check_refused(path, name, ErrorCode::invalid_argument);
    CHECK(message.find("--resume") != std::string::npos);
    CHECK(message.find("other settings") != std::string::npos);
  }
}

TEST_CASE("training state: what is none is refused") {
  const TemporaryFolder folder;
  check_refused(folder / "absent", "run", ErrorCode::not_found);
  write_bytes(folder / "text", std::string_view("epoch,rate,loss\n1,0.001,0.5\n"));
  check_refused(folder / "text", "run", ErrorCode::bad_format);

  const std::vector<float> values(15);
  SafetensorsWriter pack;
  pack.set_metadata("promiseg", "{}");
  pack.add(std::string("value.") + kWeight, TensorView<const float, 2>(values.data(), {3, 5}));
  pack.write(folder / "pack");
  const std::string message = check_refused(folder / "pack", "run", ErrorCode::bad_format);
  CHECK(message.find("not the state of a training run") != std::string::npos);
}

TEST_CASE("training state: a description without what it must hold is refused, the file named") {
  const TemporaryFolder folder;
  for (const char* description : {"", "{", "[]", R"({"epoch": 3})", R"({"run": "run"})",
                                  R"({"run": "run", "epoch": "three", "step": 0})"}) {
    CAPTURE(description);
    SafetensorsWriter writer;
    writer.set_metadata("promiseg.training", description);
    writer.write(folder / "state");
    check_refused(folder / "state", "run", ErrorCode::bad_format);
  }
}

TEST_CASE("training state: a tensor that is missing or of another size is refused by name") {
  const TemporaryFolder folder;
  Run run(1);
  run.step(1.0F);
  save_state(folder / "whole", "run", some_position(), run.parameters, run.optimiser);
  const SafetensorsFile whole(folder / "whole");
  const std::vector<float> values(14);
  const TensorEntry shorter{DType::f32, {14}, std::as_bytes(std::span(values))};
  for (const char* kind : {"value.", "mean.", "square."}) {
    const std::string tensor = std::string(kind) + kWeight;
    CAPTURE(tensor);
    REQUIRE(whole.contains(tensor));
    for (const bool missing : {false, true}) {
      if (missing && tensor.starts_with("mean.")) continue;  // a tensor may have no moments yet
      CAPTURE(missing);
      SafetensorsWriter writer;
      for (const auto& [key, text] : whole.metadata()) writer.set_metadata(key, text);
      for (const auto& [name, entry] : whole.tensors()) {
        if (name != tensor) writer.add(name, entry);
        if (name == tensor && !missing) writer.add(name, shorter);
      }
      const fs::path path = folder / "changed";
      writer.write(path);
      Run other(2);
      try {
        load_state(path, "run", other.parameters, other.optimiser);
        FAIL_CHECK("accepted");
      } catch (const Error& error) {
        const std::string message = error.what();
        CAPTURE(message);
        CHECK(error.code() == (missing ? ErrorCode::not_found : ErrorCode::bad_format));
        CHECK(message.find(path.string()) != std::string::npos);
        CHECK(message.find(tensor) != std::string::npos);
      }
    }
  }
}

TEST_CASE("training state: truncated and damaged files") {
  const TemporaryFolder folder;
  const fs::path path = folder / "pack.state";
  Run run(1);
  run.step(1.0F);
  save_state(path, "run", some_position(), run.parameters, run.optimiser);
  const auto read = [](const fs::path& file) {
    Run other(2);
    load_state(file, "run", other.parameters, other.optimiser);
  };
  check_truncations(path, 23, read);
  check_flips(path, 1500, 300, read);
}
