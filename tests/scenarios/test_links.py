"""Stories of links: made at a window or by a subcommand, joined by one line while nobody is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from scenarios.conversing import commands, friends_talk
from scenarios.stage import relay_at
from scenarios.terminal import terminal
from scenarios.test_bad_input import clave


async def test_from_nothing_to_a_verified_conversation_by_one_line(tmp_path: Path) -> None:
    async with relay_at(tmp_path / "relay") as relay:
        home = str(tmp_path / "home")
        words = ("-m", "clave_client", "chat", "--relay", relay.address, "--name", "red")
        async with terminal(*words, CLAVE_HOME=home) as red:
            await red.shows("no rooms yet")
            await red.enter("/new friends")
            await red.shows("friends>")
            await red.enter("/invite")
            await red.shows("clave join clave://")
            await red.prompts("friends>")
            await red.enter("exit")
            assert await red.ended() == 0
        link = re.sub(r"\s", "", red.text[red.text.rindex("clave://") :])
        link = link[: link.index("#") + 72]
        joining = ("-m", "clave_client", "join", link)
        async with terminal(*joining, CLAVE_HOME=str(tmp_path / "elsewhere")) as green:
            await green.shows("your name there:")
            green.press("green\r")
            await green.shows("friends>")
            await green.enter("is anybody here")
            await green.shows("nobody of friends has let you in yet")
            await green.shows("green: is anybody here")
            async with terminal("-m", "clave_client", "chat", CLAVE_HOME=home) as red:
                await red.shows("green (unverified): is anybody here")
                await red.shows("green (unverified) joined by red's link")
                await green.shows("red let this device into friends")
                await red.prompts("friends>")
                await red.enter("/fingerprint green")
                await red.shows("safety number with you")
                await red.enter("/verify green")
                await red.shows("green is verified")
                await green.enter("/fingerprint red")
                await green.shows("safety number with you")
                await green.enter("/verify red")
                await green.shows("red is verified")
                await green.enter("thanks for the link")
                await red.shows("green: thanks for the link")
                await red.enter("exit")
                assert await red.ended() == 0
            await green.enter("exit")
            assert await green.ended() == 0
        assert "Traceback" not in green.text
        assert not any("friends" in line or "thanks" in line for line in relay.mirror)


async def test_subcommands_make_list_and_revoke_links_and_join_by_them(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red", "blue") as table:
        red, blue = table.windows
        made, shown, listed = await commands(
            "invite friends --json --uses 2",
            "invite friends --qr --expires 2h",
            "links friends",
            home=table.home,
        )
        assert (made.status, made.err) == (0, "")
        link = json.loads(made.out)["link"]
        assert link.startswith(f"clave://{table.relay.address}/#")
        *drawn, line = shown.out.splitlines()
        assert line.startswith("clave join clave://")
        assert len(line) < 160
        assert len(drawn) > 20, "a QR code of half blocks"
        assert "whoever has this line can join friends: 10 devices until" in shown.err
        assert [each.split("by red: ")[1].split(" until")[0] for each in listed.out.splitlines()] in (
            ["2 devices", "10 devices"],
            ["10 devices", "2 devices"],
        )
        elsewhere = tmp_path / "elsewhere"
        joined = await clave("join", "--name", "green", "--json", link, home=elsewhere)
        assert (joined.status, json.loads(joined.out)["room"]) == (0, "friends"), joined.err
        await red.shows("green (unverified) joined by red's link")
        await blue.shows("green (unverified) joined by red's link")
        said = await clave("send", "friends", "hello from a script", home=elsewhere)
        assert said.status == 0, said.err
        assert (await blue.shows("hello from a script")).endswith("green (unverified): hello from a script")
        (revoked,) = await commands("revoke friends all", home=table.home)
        assert revoked.status == 0, revoked.err
        await blue.shows("red (unverified) revoked 2 links to join by")
        assert await red.says("/links") == ["* no link to join by; /invite makes one"]
        late = await clave("join", "--name", "white", link, home=tmp_path / "late")
        assert (late.status, late.line) == (2, "this link was revoked; ask for a new one")


async def test_what_is_no_link_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    async with friends_talk(tmp_path, "red") as table:
        (made,) = await commands("invite friends --json", home=table.home)
        link = json.loads(made.out)["link"]
        home = tmp_path / "elsewhere"
        for typed, why in (
            ("hello", "this is no link to join by; one begins with clave:// and has a #"),
            (link[:-9], "this link is cut off: 62 of 71 characters after the #"),
            (
                link[:-2] + ("AA" if link[-2:] != "AA" else "BB"),
                "this link is mistyped: its checksum does not fit",
            ),
            (link.replace("clave://", "clave://x"), "this link is mistyped"),
        ):
            refused = await clave("join", "--name", "green", typed, home=home)
            assert (refused.status, why in refused.line) == (2, True), refused.err
        unnamed = await clave("join", link, home=home)
        assert (unnamed.status, unnamed.line) == (2, "say who you are: clave join --name NAME LINK")
        assert not home.exists()
        taken = await clave("join", "--name", "red", link, home=home)
        assert taken.status == 4
        assert "red" in taken.line
