// promiseg train --resume: a run that was interrupted or killed ends as if nothing had happened.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "child_process.hpp"
#include "train_fixture.hpp"

using namespace promiseg_test;

namespace {

/// Longer than anything here takes, under sanitizers too.
constexpr std::chrono::seconds kPatience{240};

/// The lines of a log after the first; 0 if there is none.
std::ptrdiff_t logged_epochs(const std::string& file) {
  if (!fs::exists(file)) return 0;
  const std::vector<char> bytes = read_bytes(file);
  return std::max<std::ptrdiff_t>(std::count(bytes.begin(), bytes.end(), '\n') - 1, 0);
}

/// A run that a signal ended.
struct Halted {
  Arguments settings;  ///< with its number of epochs
  CommandResult result;
};

/// Trains the pack "halted", and sends a signal as soon as an epoch is on disk. A run that ends
/// before it gets there is made again with more epochs.
Halted halt(const TrainFixture& fixture, const Arguments& more, int signal_number,
            int first_epochs = 40) {
  for (const int factor : {1, 5, 25}) {
    const Arguments settings = with(more, {"--epochs", std::to_string(first_epochs * factor)});
    ChildProcess child(fixture.arguments("halted", settings));
    const auto begun = [&] {
      return logged_epochs(fixture.log_of("halted")) > 0 && fs::exists(fixture.state_of("halted"));
    };
    REQUIRE(child.wait_until(begun, kPatience));
    child.send(signal_number);
    const CommandResult result = child.wait(kPatience);
    if (result.exit_code != 0) return {settings, result};
    fs::remove(fixture.pack("halted"));
    fs::remove(fixture.log_of("halted"));
  }
  FAIL("every run ended before the signal came");
  return {};
}

/// Goes on with a halted run: the end must be that of a run that nobody has interrupted.
void check_resumed(const TrainFixture& fixture, const Arguments& settings) {
  fixture.train("whole", settings);
  const std::string said = fixture.train("halted", with(settings, {"--resume", "--threads", "1"}));
  CHECK(contains(said, "Going on after epoch "));
  CHECK_FALSE(contains(said, "Going on after epoch 0\n"));
  CHECK(read_bytes(fixture.pack("halted")) == read_bytes(fixture.pack("whole")));
  CHECK_FALSE(fs::exists(fixture.state_of("halted")));
  const Columns expected = fixture.read_log("whole");
  const Columns resumed = fixture.read_log("halted");
  for (const char* column : {"epoch", "rate", "loss", "train_dice", "val_dice"}) {
    CAPTURE(column);
    CHECK((resumed.at(column) == expected.at(column)));
  }
}

}  // namespace

TEST_CASE("train: interrupted after a step in the middle, it goes on where it stopped") {
  const TrainFixture fixture;
  const std::set<std::string> before = fixture.files();
  const Arguments more = {"--batch", "1", "--train-prompt", "points", "--quiet"};
  const Halted halted = halt(fixture, more, SIGINT);
  check_complaint(halted.result, 1);
  CHECK(contains(halted.result.err, "interrupted"));
  CHECK(contains(halted.result.err, "--resume"));
  std::set<std::string> left = before;
  left.insert({fixture.pack("halted"), fixture.log_of("halted"), fixture.state_of("halted")});
  CHECK(fixture.files() == left);

  // With other settings there is nothing to go on with, and nothing is spoilt by trying.
  const std::vector<char> state = read_bytes(fixture.state_of("halted"));
  const std::vector<char> pack = read_bytes(fixture.pack("halted"));
  for (const Arguments& other : {Arguments{"--rate", "0.01"}, Arguments{"--seed", "9"}}) {
    CAPTURE(other.front());
    CommandResult refused =
        run_promiseg(fixture.arguments("halted", with(with(halted.settings, other), {"--resume"})));
    check_complaint(refused, 1);
    CHECK(contains(refused.err, "halted.safetensors.state"));
    CHECK(contains(refused.err, "other settings"));
  }
  CHECK(fixture.files() == left);
  CHECK(read_bytes(fixture.state_of("halted")) == state);
  CHECK(read_bytes(fixture.pack("halted")) == pack);

  Arguments loud = halted.settings;
  loud.erase(std::remove(loud.begin(), loud.end(), "--quiet"), loud.end());
  check_resumed(fixture, loud);
}

TEST_CASE("train: interrupted after the last step of an epoch, it goes on") {
  // One step is an epoch, so that is where an interrupt is noticed.
  const TrainFixture fixture;
  const Halted halted = halt(fixture, {"--batch", "8"}, SIGINT);
  CHECK(halted.result.exit_code == 1);
  CHECK(contains(halted.result.err, "--resume"));
  check_resumed(fixture, halted.settings);
}

TEST_CASE("train: killed, it goes on from the last epoch") {
  const TrainFixture fixture;
  Arguments method;
  int epochs = 40;
  SUBCASE("IPS") { method = {"--train-prompt", "box"}; }
  SUBCASE("APM, which has running statistics, and IPS") {
    method = {"--method", "apm+ips", "--config", kSmallResnet, "--point-jitter", "0.05"};
    epochs = 5;  // each takes a second under the sanitizers
  }
  const Halted halted = halt(fixture, with({"--batch", "2"}, method), SIGKILL, epochs);
  CHECK(halted.result.exit_code == 128 + SIGKILL);
  REQUIRE(fs::exists(fixture.state_of("halted")));
  check_resumed(fixture, halted.settings);
}

TEST_CASE("train: a run whose best state is gone does not go on as if it were there") {
  const TrainFixture fixture;
  const Halted halted = halt(fixture, {"--batch", "2"}, SIGINT);
  fs::rename(fixture.pack("halted"), fixture / "moved");
  fixture.check_failure(fixture.arguments("halted", with(halted.settings, {"--resume"})),
                        {"halted.safetensors", "put the file back"});
  CHECK(fs::exists(fixture.state_of("halted")));
}

TEST_CASE("train: nothing to go on with") {
  const TrainFixture fixture;
  fixture.check_failure(fixture.arguments("none", {"--resume"}),
                        {"none.safetensors.state", "no interrupted run"});
  write_bytes(fixture.state_of("text"), std::string_view("not a state\n"));
  fixture.check_failure(fixture.arguments("text", {"--resume"}), {"text.safetensors.state"});
}
