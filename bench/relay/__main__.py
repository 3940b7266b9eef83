"""x."""
from pathlib import Path
import sys, json, shutil
from bench.relay.generator import Generator
from bench.relay.population import Population
from bench.relay.scenes import SCENES
from bench.relay.servers import SERVERS, running, Relay
import time
f=Path("build/bench-relay").resolve(); shutil.rmtree(f,ignore_errors=True); f.mkdir(parents=True)
g=Generator.build(f)
for letter in sys.argv[1]:
    s=SCENES[letter]
    t=time.time(); (f/f"pop{letter}").mkdir(); p=Population.make(g,f/f"pop{letter}",s.sizes()); print(letter, "population",time.time()-t)
    for name in sys.argv[2].split(","):
        v=SERVERS[name]; d=f/f"run{letter}{name}"; d.mkdir(); 
        if isinstance(v,Relay): p.copy_to(d)
        with running(v,d) as r:
            o=[f"--protocol={v.protocol}",f"--port={r.port}","--processes="+",".join(map(str,r.processes()))]+(["--tls"] if v.tls else [])+s.options()
            if isinstance(v,Relay): o+=p.options()
            for line in g.run(o,[f"closed:{s.window}:2","half:2"]): print(name, json.dumps(line))
            print(r.complaint())
