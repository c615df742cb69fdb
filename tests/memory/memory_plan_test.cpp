// What `inspect --memory` says beforehand against what a run takes.
#include <doctest/doctest.h>

#include "promiseg/eigen/backend.hpp"
#include "promiseg/sam/predictor.hpp"
#include "unit/command_fixture.hpp"

using namespace promiseg_test;
using namespace promiseg;

namespace {

/// What the command says of the fixture's model.
Json plan(const CommandFixture& fixture, Precision precision, int threads) {
  return run_json({"inspect", fixture.model(), "--memory", "--precision",
                   std::string(to_string(precision)), "--threads", std::to_string(threads)})
      .at("memory");
}

}  // namespace

TEST_CASE("memory plan: as much as a run takes, to the byte") {
  for (const char* arch : {"vit_b", "litemedsam"}) {
    const CommandFixture fixture(arch);
    const ModelFile file(fixture.model());
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      for (const int threads : {1, 3}) {
        CAPTURE(arch);
        CAPTURE(to_string(precision));
        CAPTURE(threads);
        const Json planned = plan(fixture, precision, threads);
        const std::int64_t weights = planned.at("weights").as_integer();
        Predictor predictor(EigenBackend({.threads = threads, .precision = precision}), file);
        const auto taken = [&] {
          return static_cast<std::int64_t>(predictor.backend().memory().total());
        };
        CHECK(taken() == weights);
        const ImageEmbedding embedding = predictor.encode(Image({30, 40, 3}));
        Prompt prompt;
        prompt.box = BoxPrompt{3, 4, 20, 25};
        predictor.predict(embedding, {prompt});
        CHECK(taken() == weights + planned.at("working").as_integer());
        CHECK(planned.at("loading").as_integer() > weights);
        CHECK(planned.at("peak").as_integer() >= taken());
      }
    }
  }
}

TEST_CASE("memory plan: bfloat16 halves the weight matrices") {
  const CommandFixture fixture("vit_b");
  const ModelFile file(fixture.model());
  const auto packed = [&](Precision precision) {
    Predictor predictor(EigenBackend({.precision = precision}), file);
    return static_cast<double>(predictor.backend().memory().packed);
  };
  CHECK(packed(Precision::bf16) / packed(Precision::fp32) == doctest::Approx(0.5).epsilon(0.05));
}

TEST_CASE("memory plan: packs and prompts count, and only one backend knows") {
  const CommandFixture fixture("vit_b");
  const std::string pack = fixture / "pack.safetensors";
  run_well({"synth", "promise_resnet18", "--for", fixture.model(), "--seed", "1", "-o", pack,
            "--config", R"({"tap_blocks": [2, 1], "point_num": 4, "point_value": [1, 1, 0, 0]})"});
  const auto needs = [&](std::vector<std::string> more) {  // with a limit of one byte
    more.insert(more.begin(), {"segment", fixture.image(), "--model", fixture.model(), "--threads",
                               "2", "--max-memory", "1", "-o", fixture / "out"});
    const CommandResult refused = run_promiseg(more);
    CHECK(refused.exit_code != 0);
    const std::string marker = "it takes ";
    const std::size_t at = refused.err.find(marker);
    return at == std::string::npos ? 0L : std::stol(refused.err.substr(at + marker.size()));
  };
  const long one = needs({"--box", "1,2,30,30"});
  CHECK(one > 0);
  CHECK(needs({"--box", "1,2,30,30", "--box", "2,2,30,30"}) > one);
  CHECK(needs({"--pack", pack}) > one + static_cast<long>(std::filesystem::file_size(pack)));
  CHECK(needs({"--box", "1,2,30,30", "--backend", "reference"}) == 0);
}

TEST_CASE("memory plan: limits as people write them") {
  const CommandFixture fixture("litemedsam");
  const auto run = [&](const std::string& limit) {
    return run_promiseg({"segment", fixture.image(), "--model", fixture.model(), "--box",
                         "10,5,40,35", "--max-memory", limit, "-o", fixture / "out"});
  };
  for (const char* enough : {"1GB", "0.5 GiB", "512mb", "1e9", "1t", "600000k", "999999999B"}) {
    CAPTURE(enough);
    CHECK(run(enough).exit_code == 0);
  }
  for (const char* wrong : {"-1", "0", "much", "1XB", "99999999999999999999999", "1GBGB", "nan"}) {
    CAPTURE(wrong);
    const CommandResult refused = run(wrong);
    check_complaint(refused, 2);
    CHECK(refused.err.find("--max-memory") != std::string::npos);
  }
}

TEST_CASE("memory plan: a limit is kept") {
  const CommandFixture fixture("litemedsam");
  const std::int64_t peak = plan(fixture, Precision::fp32, 2).at("peak").as_integer();
  const auto with_limit = [&](std::int64_t limit) {
    return run_promiseg({"segment", fixture.image(), "--model", fixture.model(), "--box",
                         "10,5,40,35", "--threads", "2", "--max-memory", std::to_string(limit),
                         "-o", fixture / "out"});
  };
  CHECK(with_limit(peak).exit_code == 0);
  const CommandResult refused = with_limit(peak - 1);
  check_complaint(refused, 1);
  CHECK(refused.err.find(std::to_string(peak)) != std::string::npos);
}
