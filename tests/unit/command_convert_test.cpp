// promiseg convert, verify and inspect on checkpoints and packs of ProMISe.
#include <doctest/doctest.h>

#include "command_fixture.hpp"

using namespace promiseg_test;
using promiseg::Json;

namespace {

const std::string kCheckpoint = PROMISEG_TEST_DATA "/checkpoints/promise_ips.pth";

}  // namespace

TEST_CASE("command: a checkpoint of ProMISe becomes a model and a pack") {
  const TemporaryFolder folder;
  const std::string model = folder / "model.safetensors";
  const std::string pack = folder / "pack.safetensors";
  const Json both = run_json({"convert", kCheckpoint, "-o", model, "--pack-out", pack, "--config",
                              R"({"own_prompt": "image", "mask_threshold": 0.5})"});
  CHECK(both.at("output").as_string() == model);
  CHECK(both.at("pack_output").as_string() == pack);
  CHECK(both.at("config").at("mask_threshold").as_number() == 0.5);
  CHECK(both.at("pack").at("config").at("own_prompt").as_string() == "image");
  CHECK(run_json({"inspect", pack}).at("kind").as_string() == "pack");
  CHECK(run_json({"verify", pack}).at("notes").as_array().size() == 1);
  CHECK(run_json({"verify", pack, "--for", model}).at("ok").as_bool());
  CHECK(run_well({"verify", pack, "--for", model}).find("IPS hidden 8") != std::string::npos);

  const std::string alone = folder / "alone.safetensors";
  const Json only = run_json({"convert", kCheckpoint, "--for", model, "--pack-out", alone});
  CHECK(only.find("output") == nullptr);
  CHECK(only.at("pack").at("weights_sha256") == both.at("pack").at("weights_sha256"));
  CHECK(only.at("pack").at("model_sha256") == both.at("weights_sha256"));

  const std::string text = run_well({"convert", kCheckpoint, "-o", folder / "sam.safetensors"});
  CHECK(text.find("4 tensors of ProMISe's modules") != std::string::npos);
  CHECK(text.find("--pack-out") != std::string::npos);
}

TEST_CASE("command: a pack that does not belong to the model fails to verify, naming both") {
  const CommandFixture fixture;
  const std::string model = fixture / "theirs.safetensors";
  const std::string pack = fixture / "pack.safetensors";
  run_well({"convert", kCheckpoint, "-o", model, "--pack-out", pack});
  const CommandResult result = run_promiseg({"verify", pack, "--for", fixture.model(), "--quiet"});
  check_complaint(result, 1);
  CHECK(result.err.find("vit (promise_ips.pth)") != std::string::npos);
  CHECK(result.err.find("vit (synth:vit:5)") != std::string::npos);
  check_complaint(run_promiseg({"verify", model, "--for", model, "--quiet"}), 1);
}

TEST_CASE("command: wrong usage of convert for packs") {
  const TemporaryFolder folder;
  const std::string model = folder / "model.safetensors";
  const std::string pack = folder / "pack.safetensors";
  const std::vector<std::vector<std::string>> cases = {
      {"--pack-out", pack},                                     // neither a model nor its name
      {"--for", model},                                         // no place for the pack
      {"--for", model, "--pack-out", pack, "-o", model},        // both
      {"--for", model, "--pack-out", pack, "--arch", "vit_b"},  // the model is there already
      {"--for", model, "--pack-out", pack, "--config", R"({"mask_threshold": 1})"},
      {"-o", model, "--config", R"({"mask_token": 0})"},  // of a pack, without one
      {"-o", model, "--pack-out", pack, "--config", R"({"mask_tokens": 0})"},
      {"-o", model, "--pack-out", pack, "--config", "[1]"},
  };
  for (std::vector<std::string> arguments : cases) {
    arguments.insert(arguments.begin(), {"convert", kCheckpoint});
    CAPTURE(arguments[2]);
    check_complaint(run_promiseg(arguments), 2);
  }
  CHECK(std::filesystem::is_empty(folder.path()));
}
