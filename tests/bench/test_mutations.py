"""mutations: each rule is about what is there, so that a change of the code takes it along."""

import mutations


def test_each_rule_breaks_one_place_of_the_code() -> None:
    rules = [rule for _, rule in mutations.rules_of([])]
    assert [(rule.file, rule.old) for rule in rules if mutations.occurrences(rule) != 1] == []


def test_each_rule_names_tests_that_are_there() -> None:
    rules = [rule for _, rule in mutations.rules_of([])]
    named = [*mutations.ABOUT.values(), *(rule.tests for rule in rules)]
    files = {mutations.ROOT / f"tests/{name}.py" for names in named for name in names}
    assert [path for path in files if not path.exists()] == []
