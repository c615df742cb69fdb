#include <memory>

#include "command.hpp"
#include "promiseg/eigen/backend.hpp"

namespace promiseg::cli {
namespace {

void list_backends(const CommonOptions& options) {
  const EigenBackend fastest;
  Json sets;
  std::string names;
  for (eigen::Isa isa : eigen::available_isas()) {
    sets.push_back(to_string(isa));
    names += (names.empty() ? "" : ", ") + std::string(to_string(isa));
  }
  options.say("eigen      CPU, the default: " + std::to_string(fastest.threads()) +
              " threads; instruction sets here: " + names +
              " (used: " + std::string(to_string(fastest.instruction_set())) + ")");
  options.say("reference  CPU, plain loops: slow, complete, the oracle of the tests");
  Json eigen_json;
  eigen_json.set("name", "eigen");
  eigen_json.set("default", true);
  eigen_json.set("threads", fastest.threads());
  eigen_json.set("instruction_sets", std::move(sets));
  eigen_json.set("instruction_set", to_string(fastest.instruction_set()));
  Json reference_json;
  reference_json.set("name", "reference");
  reference_json.set("default", false);
  options.print(Json::Object{{"backends", Json::Array{eigen_json, reference_json}}});
}

}  // namespace

void add_backends_command(CLI::App& app) {
  auto options = std::make_shared<CommonOptions>();
  CLI::App* command = app.add_subcommand("backends", "List what can compute on this machine");
  options->add_output_to(*command);
  command->callback([options] { list_backends(*options); });
}

}  // namespace promiseg::cli
